"""Writes what is said in recordings as a manifest of NVIDIA NeMo: one line of JSON for each utterance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict
from urllib.parse import unquote

from models.types import AttributeValue, Item, Task
from pipelines.formats.exported import Exported, LeftOut, labelled
from pipelines.formats.results import Result
from pipelines.formats.transcript import Utterance, one_line, utterances

TASKS: frozenset[Task] = frozenset({"speech"})


class Line(TypedDict):
    """A line of the manifest; ``score``, ``score_kind``, ``item_id`` and ``route`` are ours."""

    audio_filepath: str
    offset: float
    duration: float
    text: str
    lang: str | None
    speaker: str | None
    score: float | None
    score_kind: str | None
    item_id: str
    route: str | None


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write ``manifest.json``, in JSON Lines as NeMo wants it.

    A line is an utterance: the recording from ``offset`` on for ``duration`` seconds. A recording without speech is one
    line with an empty text; it needs a known length. ``audio_filepath`` is the item's path (a file: URI becomes one) or
    URL, and its id if it has neither. Words and other attributes than the language and the speaker are left out.
    Source: https://github.com/NVIDIA/NeMo, docs/source/asr/datasets.rst and
    nemo/collections/common/data/lhotse/nemo_adapters.py, by which fields of one's own are kept.
    """
    left_out = Counter[str]()
    with (out / "manifest.json").open("w", encoding="ascii", newline="\n") as file:
        for entry in labelled(entries, left_out):
            # Not orjson: a path that is no UTF-8 holds lone surrogates, which only json's \u escapes can carry.
            file.writelines(f"{json.dumps(line, allow_nan=False)}\n" for line in _lines(entry, left_out))
    return +left_out  # without zeros


def _lines(entry: Exported, left_out: LeftOut) -> Iterator[Line]:
    if entry.result.status == "nothing_found":
        if entry.result.duration_s:
            yield _silence(entry, entry.result.duration_s)
        else:
            left_out["recordings without speech whose length is not known"] += 1
    for utterance in utterances(entry.result, left_out):
        if utterance.text:
            left_out.update(_unheld(utterance))
            yield _line(entry, utterance)
        else:
            left_out["segments without text"] += 1


def _line(entry: Exported, utterance: Utterance) -> Line:
    number, kind = utterance.certainty
    language = _attributes(utterance).get("language")
    return Line(
        audio_filepath=_path(entry.item),
        offset=utterance.start_ms / 1000,
        duration=(utterance.end_ms - utterance.start_ms) / 1000,
        text=utterance.text,
        lang=None if language is None else one_line(str(language)),
        speaker=utterance.speaker,
        score=number,
        score_kind=kind,
        item_id=entry.item.id,
        route=_route(entry.result),
    )


def _silence(entry: Exported, duration_s: float) -> Line:
    return Line(
        audio_filepath=_path(entry.item),
        offset=0.0,
        duration=duration_s,
        text="",
        lang=None,
        speaker=None,
        score=None,
        score_kind=None,
        item_id=entry.item.id,
        route=_route(entry.result),
    )


def _path(item: Item) -> str:
    if item.uri is None or item.uri[:5].lower() != "file:":
        return item.uri or item.id
    path = item.uri[5:]
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]  # behind the host, which is empty or localhost
    return unquote(path, errors="surrogateescape")


def _attributes(utterance: Utterance) -> dict[str, AttributeValue]:
    return utterance.segment.annotation.attributes if utterance.segment else {}


def _unheld(utterance: Utterance) -> dict[str, int]:
    attributes = len(_attributes(utterance).keys() - {"language", "speaker"})
    return {"times and scores of words": len(utterance.words), "attributes": attributes}


def _route(result: Result) -> str | None:
    return result.decision.route if result.decision else None
