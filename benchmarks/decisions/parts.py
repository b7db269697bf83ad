"""Names the parts of the benchmark of decisions, and keeps the figures of each in one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, assert_never, get_args

from benchmarks.decisions import command
from benchmarks.decisions.detector import measurement
from benchmarks.decisions.detector import report as detector
from benchmarks.judgement import Report
from benchmarks.machine import Machine

Part = Literal["simulated", "detector"]

# In the order of the tables.
PARTS: tuple[Part, ...] = get_args(Part)


def chosen(only: Collection[str]) -> list[Part]:
    """Those named, else all."""
    return [part for part in PARTS if not only or part in only]


def measure(part: Part, *, quick: bool, progress: Callable[[str], None], page: Path | None = None) -> Report:
    """Measure one part.

    Args:
        page: where the detector's calibration report goes, if anywhere.
    """
    match part:
        case "simulated":
            return command.report(command.measure(quick=quick, progress=progress))
        case "detector":
            return detector.report(measurement.measure(quick=quick, progress=progress, page=page))
        case _:
            assert_never(part)


def figures(reports: Mapping[Part, Report], measured_on: Machine) -> dict[str, Any]:
    """By part, its judgements and figures, with the machine that they were measured on."""
    return {part: one.content(measured_on) for part, one in reports.items()}


def save(file: Path, measured: Mapping[str, Any]) -> None:
    """Write figures; those of a part that was not measured now stay, with the machine that they were measured on."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    both = {part: found for part in PARTS if (found := measured.get(part, kept.get(part))) is not None}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(both, indent=1, allow_nan=False) + "\n", encoding="utf-8")
