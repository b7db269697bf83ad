"""Prepares what a report shows of one item: its medium, its labels and how unsure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from models.errors import ItemError
from models.media import MediaLimits
from models.media.signature import identify
from models.types import MEDIA_OF_TASK, Annotation, Media
from pipelines.formats.report.colours import Colour
from pipelines.formats.report.picture import Picture, data_uri, picture
from pipelines.formats.report.text import MAX_CHARS, Piece, Word, pieces, words
from pipelines.formats.results import Result

MAX_LABELS = 100
MAX_AUDIO_BYTES = 2_500_000

_AUDIO_TYPES = {
    "WAV": "audio/wav",
    "FLAC": "audio/flac",
    "Ogg": "audio/ogg",
    "MP4": "audio/mp4",
    "Matroska": "audio/webm",
    "AAC": "audio/aac",
    "MP3": "audio/mpeg",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A result and what to show with it: its file, opened only if it is shown, or the text that came with the item.

    The limits bound an image.
    """

    result: Result
    source: Path | None
    text: str | None
    limits: MediaLimits = field(default_factory=MediaLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One item of the report; what its medium does not have stays empty. ``note`` says why nothing is to be seen."""

    result: Result
    media: Media
    route: str
    uncertainty: list[tuple[str, float]]
    rows: list[tuple[Annotation, bool]]
    hidden_rows: int
    picture: Picture | None = None
    pieces: list[Piece]
    hidden_chars: int = 0
    words: list[Word]
    audio_uri: str = ""
    note: str = ""


def cards(entries: Sequence[Entry], colour_of: Mapping[str, Colour]) -> list[Card]:
    """Recordings are put in as long as they fit; they are what makes a page large."""
    cards: list[Card] = []
    audio_bytes_left = MAX_AUDIO_BYTES
    for entry in entries:
        card = _card(entry, colour_of, audio_bytes=audio_bytes_left)
        audio_bytes_left -= len(card.audio_uri) * 3 // 4
        cards.append(card)
    return cards


def _card(entry: Entry, colour_of: Mapping[str, Colour], *, audio_bytes: int) -> Card:
    result, media = entry.result, MEDIA_OF_TASK[entry.result.task]
    shown = result.annotations[:MAX_LABELS]
    image, text, audio, note = None, entry.text, "", ""
    match media:
        case "image":
            image, note = _picture(entry, shown, colour_of)
        case "audio":
            audio, note = ("", "") if result.error else _audio(entry.source, audio_bytes)
        case "text":
            text = _text(entry)
            note = "" if text is not None else "the text is not at hand"
        case unreachable:
            assert_never(unreachable)
    return Card(
        result=result,
        media=media,
        route=route(result),
        uncertainty=sorted(result.uncertainty.items(), key=lambda pair: -pair[1]),
        rows=_rows(shown),
        hidden_rows=len(result.annotations) - len(shown),
        picture=image,
        pieces=pieces(text, shown) if text is not None else [],
        hidden_chars=max(len(text or "") - MAX_CHARS, 0),
        words=words(shown) if media == "audio" else [],
        audio_uri=audio,
        note=note,
    )


def route(result: Result) -> str:
    return result.decision.route if result.decision else "failed" if result.error else "undecided"


def _rows(annotations: Sequence[Annotation]) -> list[tuple[Annotation, bool]]:
    """Labels for a list, each followed by those made from it; these come with True."""
    ids = {annotation.id for annotation in annotations}
    tops = {annotation.id for annotation in annotations if annotation.parent_id not in ids}
    children: dict[str | None, list[Annotation]] = {}
    for annotation in annotations:
        if annotation.parent_id in tops:
            children.setdefault(annotation.parent_id, []).append(annotation)
    rows: list[tuple[Annotation, bool]] = []
    for annotation in annotations:
        if annotation.parent_id not in tops:
            rows += [(annotation, False), *((child, True) for child in children.get(annotation.id, ()))]
    return rows


def _picture(
    entry: Entry, annotations: Sequence[Annotation], colour_of: Mapping[str, Colour]
) -> tuple[Picture | None, str]:
    """The picture, or why there is none."""
    try:
        return picture(_read(entry.source), annotations, colour_of, entry.limits), ""
    except ItemError as err:
        return None, err.message


def _text(entry: Entry) -> str | None:
    """The text as the model counted it: line ends stay as they are."""
    if entry.text is not None or entry.source is None:
        return entry.text
    with suppress(OSError, ValueError):  # gone, or no UTF-8, which is why it failed
        return entry.source.read_bytes().decode()
    return None


def _audio(source: Path | None, bytes_left: int) -> tuple[str, str]:
    """The recording as a data URI, or why it is left out."""
    try:
        data = _read(source, at_most=bytes_left)
    except ItemError as err:
        return "", err.message
    kind, _ = identify(data)
    if kind not in _AUDIO_TYPES:
        return "", f"no browser plays this recording: {kind}"
    return data_uri(_AUDIO_TYPES[kind], data), ""


def _read(source: Path | None, *, at_most: int | None = None) -> bytes:
    """A file's bytes; without them the page is still written."""
    if source is None:
        raise ItemError("not_found", "the file is not on this machine, or was not opened")
    try:
        if at_most is not None and source.stat().st_size > at_most:
            raise ItemError("too_large", "the file is left out to keep this page small")
        return source.read_bytes()
    except (OSError, ValueError) as err:  # ValueError: a NUL in the name
        reason = err.strerror if isinstance(err, OSError) else str(err)
        raise ItemError("not_found", f"the file cannot be read: {reason}") from err
