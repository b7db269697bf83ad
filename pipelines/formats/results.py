"""Writes outcomes as results: the objects of the HTTP answer and the lines of results.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import orjson
from pydantic import TypeAdapter

from models.types import Annotation, Task
from pipelines.sanity import Finding, MoreFindings
from pipelines.types import Decision, Failed, Failure, Labelled, Outcome, Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What prelabel says about one item: its labels with scores and a decision, or the error that prevented them.

    ``size_hw`` is an image's height and width in pixels, ``duration_s`` a recording's length in seconds. ``findings``
    are what the sanity rules found and what became of it, ``more_findings`` how many there are beyond the first
    hundred, ``unmapped`` the models' labels that mean no class of the ontology, with how many annotations had each.
    """

    id: str
    task: Task
    status: Literal["labels", "nothing_found", "failed"]
    annotations: tuple[Annotation, ...] = ()
    confidence: float | None = None
    calibrated: bool = False
    uncertainty: dict[str, float] = field(default_factory=dict)
    signals: dict[str, float] = field(default_factory=dict)
    size_hw: tuple[int, int] | None = None
    duration_s: float | None = None
    findings: tuple[Finding, ...] = ()
    more_findings: tuple[MoreFindings, ...] = ()
    unmapped: dict[str, int] = field(default_factory=dict)
    decision: Decision | None = None
    provenance: Provenance | None = None
    error: Failure | None = None

    @property
    def is_hidden(self) -> bool:
        """Whether whoever labels the item must not see these labels; they are for whoever runs the service."""
        return self.decision is not None and self.decision.is_hidden


def result(outcome: Outcome) -> Result:
    """An outcome as users see it."""
    match outcome:
        case Failed():
            return Result(id=outcome.item.id, task=outcome.task, status="failed", error=outcome.failure)
        case Labelled():
            pre_label = outcome.pre_label
            return Result(
                id=outcome.item.id,
                task=outcome.task,
                status=pre_label.prediction.status,
                annotations=pre_label.prediction.annotations,
                confidence=pre_label.confidence,
                calibrated=pre_label.calibrated,
                uncertainty=pre_label.uncertainty,
                signals=pre_label.prediction.signals,
                size_hw=pre_label.prediction.size_hw,
                duration_s=pre_label.prediction.duration_s,
                findings=pre_label.findings,
                more_findings=pre_label.more_findings,
                unmapped=pre_label.unmapped,
                decision=outcome.decision,
                provenance=pre_label.provenance,
            )


def write(results: Iterable[Result], file: Path) -> None:
    """JSON Lines in UTF-8, one result a line."""
    with file.open("wb") as lines:
        for line in results:
            lines.write(_json(RESULT.dump_python(line, mode="json")) + b"\n")


def read(file: Path) -> list[Result]:
    """The results of a JSON Lines file."""
    return [RESULT.validate_python(json.loads(line)) for line in file.read_bytes().splitlines()]


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # an id from a file name that is no UTF-8 holds lone surrogates, which only \u escapes can carry
        return json.dumps(value, allow_nan=False).encode("ascii")


RESULT = TypeAdapter(Result)
