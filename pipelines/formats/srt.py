"""Writes what is said in recordings as SubRip subtitles: one file for each recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.types import Task
from pipelines.formats.exported import Exported, LeftOut, labelled
from pipelines.formats.names import open_file
from pipelines.formats.transcript import Utterance, clock, utterances

TASKS: frozenset[Task] = frozenset({"speech"})


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write ``<item id>.srt`` for each recording; one without speech has an empty file.

    One utterance is one subtitle, numbered from 1 in the order of the starts; subtitles may overlap. SubRip holds times
    and texts only: no scores, attributes or names of labels. It has no escapes either, so texts are written as they
    are, and players take ``<i>`` in one for markup; a line break is a space, which keeps a text from ending early.
    From 100 hours on, a clock has three digits for them, which the library srt reads and some players do not.
    """
    left_out = Counter[str]()
    for entry in labelled(entries, left_out):
        number = 0
        with open_file(out, entry.item.id, ".srt") as file:
            for utterance in utterances(entry.result, left_out):
                if utterance.text:
                    number += 1
                    file.write(f"{number}\n{_times(utterance)}\n{utterance.text}\n\n")
                    left_out.update(_unheld(utterance))
                else:
                    left_out["segments without text"] += 1
    return +left_out  # without zeros


def _times(utterance: Utterance) -> str:
    return f"{clock(utterance.start_ms, ',')} --> {clock(utterance.end_ms, ',')}"


def _unheld(utterance: Utterance) -> dict[str, int]:
    return {
        "scores": 1,
        "attributes": len(utterance.segment.annotation.attributes) if utterance.segment else 0,
        "times and scores of words": len(utterance.words),
    }
