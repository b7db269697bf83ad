"""Writes who speaks when as RTTM: NIST's speaker turns, with their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from models.types import Task
from pipelines.formats.exported import Exported, LeftOut, labelled
from pipelines.formats.names import field
from pipelines.formats.results import Result
from pipelines.formats.transcript import Utterance, utterances

TASKS: frozenset[Task] = frozenset({"speech"})


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write the turns of all recordings into ``speakers.rttm``.

    A turn is an utterance whose attribute ``speaker`` says who speaks; without one it is left out. A line is ``SPEAKER
    recording 1 start duration <NA> <NA> speaker score <NA>``, in seconds from the beginning; spaces in the item's id
    and the speaker's name are written as in a URL. Which number the score is, the format cannot say.
    Source: NIST, The 2009 Rich Transcription Meeting Recognition Evaluation Plan, appendix A.
    """
    left_out = Counter[str]()
    with (out / "speakers.rttm").open("w", encoding="utf-8", newline="\n") as file:
        for entry in labelled(entries, left_out):
            name = field(entry.item.id)
            file.writelines(f"SPEAKER {name} 1 {line}\n" for line in _lines(entry.result, left_out))
    return +left_out  # without zeros


def _lines(result: Result, left_out: LeftOut) -> Iterator[str]:
    left_out["recordings in which nothing was found"] += result.status == "nothing_found"
    for utterance in utterances(result, left_out):
        if speaker := utterance.speaker:
            left_out.update({"texts": bool(utterance.text), "times and scores of words": len(utterance.words)})
            yield _line(utterance, speaker)
        else:
            left_out["segments without a speaker"] += 1


def _line(utterance: Utterance, speaker: str) -> str:
    start_s, duration_s = utterance.start_ms / 1000, (utterance.end_ms - utterance.start_ms) / 1000
    number, _ = utterance.certainty
    return f"{start_s:.3f} {duration_s:.3f} <NA> <NA> {field(speaker)} {number:.4f} <NA>"
