"""Writes what is said in recordings as WebVTT: one file of captions for each recording."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.types import Task
from pipelines.formats.exported import Exported, LeftOut, labelled
from pipelines.formats.names import open_file
from pipelines.formats.results import Result
from pipelines.formats.transcript import Utterance, clock, utterances

TASKS: frozenset[Task] = frozenset({"speech"})


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write ``<item id>.vtt`` for each recording; one without speech has a file without captions.

    One utterance is one cue, in the order of the starts; cues may overlap. WebVTT has no place for a score, so a NOTE
    before each cue holds the rest as JSON: ``id``, ``label``, ``score``, ``score_kind``, ``attributes``. The first NOTE
    is about the recording: ``item_id``, ``status``, ``route``. A speaker is the cue's voice (``<v Name>``). In texts
    ``&``, ``<`` and ``>`` are written as in HTML, which keeps ``-->`` out, and a line break is a space.
    Source: WebVTT, W3C Candidate Recommendation of 4 April 2019, sections 4.1 and 4.2.2.
    """
    left_out = Counter[str]()
    for entry in labelled(entries, left_out):
        with open_file(out, entry.item.id, ".vtt") as file:
            file.write(f"WEBVTT\n\n{_note(_about(entry.result))}")
            for utterance in utterances(entry.result, left_out):
                if utterance.text:
                    file.write(f"\n{_note(_rest(utterance))}\n{_cue(utterance)}")
                    left_out.update({"times and scores of words": len(utterance.words)})
                else:
                    left_out["segments without text"] += 1
    return +left_out  # without zeros


def _about(result: Result) -> dict[str, object]:
    route = result.decision.route if result.decision else None
    return {"item_id": result.id, "status": result.status, "route": route}


def _rest(utterance: Utterance) -> dict[str, object]:
    number, kind = utterance.certainty
    scored: dict[str, object] = {"score": number, "score_kind": kind}
    if utterance.segment is None:
        return scored
    annotation = utterance.segment.annotation
    return {"id": annotation.id, "label": annotation.label} | scored | {"attributes": annotation.attributes}


def _note(value: dict[str, object]) -> str:
    """A comment of one line; ``-->`` must not occur in it."""
    return f"NOTE {json.dumps(value)}\n".replace("-->", "--\\u003e")


def _cue(utterance: Utterance) -> str:
    voice = f"<v {_escaped(utterance.speaker)}>" if utterance.speaker else ""
    times = f"{clock(utterance.start_ms, '.')} --> {clock(utterance.end_ms, '.')}"
    return f"{times}\n{voice}{_escaped(utterance.text)}\n"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)
