"""Writes the words of recordings as CTM: NIST's time-marked words, with their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from models.types import Task
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled
from pipelines.formats.names import field
from pipelines.formats.results import Result
from pipelines.formats.transcript import Spoken, utterances

TASKS: frozenset[Task] = frozenset({"speech"})


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write the words of all recordings into ``words.ctm``.

    A line is ``recording channel start duration word score``: the item's id with spaces written as in a URL, ``1``
    for the channel, seconds from the beginning. Which number the score is, the format cannot say. A space in a word is
    ``_``. sclite wants the lines sorted by recording and start, so their places in a temporary file are remembered, a
    few numbers for each recording. Source: https://github.com/usnistgov/SCTK, doc/infmts.htm, "ctm".
    """
    left_out, blocks = Counter[str](), list[tuple[str, int, int]]()
    with TemporaryFile(dir=out) as unsorted, (out / "words.ctm").open("wb") as file:
        for entry in labelled(entries, left_out):
            name, start = field(entry.item.id), unsorted.tell()
            unsorted.writelines(f"{name} 1 {line}\n".encode() for line in _lines(entry.result, left_out))
            blocks.append((name, start, unsorted.tell() - start))
        for _, start, length in sorted(blocks):
            unsorted.seek(start)
            file.write(unsorted.read(length))
    return +left_out  # without zeros


def _lines(result: Result, left_out: LeftOut) -> Iterator[str]:
    words = list[Spoken]()
    left_out["recordings in which nothing was found"] += result.status == "nothing_found"
    for utterance in utterances(result, left_out):
        words += utterance.words
        if utterance.segment:
            left_out["times and scores of segments" if utterance.words else "segments without words"] += 1
    for word in sorted(words, key=lambda word: word.start_ms):
        if word.text:
            left_out["attributes of words"] += len(word.annotation.attributes)
            yield _line(word)
        else:
            left_out["words without text"] += 1


def _line(word: Spoken) -> str:
    start_s, duration_s = word.start_ms / 1000, (word.end_ms - word.start_ms) / 1000
    number, _ = certainty(word.annotation)
    return f"{start_s:.3f} {duration_s:.3f} {'_'.join(word.text.split())} {number:.4f}"
