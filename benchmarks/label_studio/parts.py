"""Names the parts of the benchmark with Label Studio, and keeps the figures of each in one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, assert_never, get_args

from benchmarks.judgement import Report
from benchmarks.label_studio import flood, flood_report, latency, latency_report
from benchmarks.machine import Machine

Part = Literal["flood", "latency"]

# In the order of the tables.
PARTS: tuple[Part, ...] = get_args(Part)


def chosen(only: Collection[str]) -> list[Part]:
    """Those named, else all."""
    return [part for part in PARTS if not only or part in only]


def measure(part: Part, *, quick: bool, progress: Callable[[str], None]) -> Report:
    """Measure one part.

    Raises:
        LabelStudioMissing: there is no Label Studio to measure with.
    """
    match part:
        case "flood":
            return flood_report.report(flood.measure(quick=quick, progress=progress))
        case "latency":
            return latency_report.report(latency.measure(quick=quick, progress=progress))
        case _:
            assert_never(part)


def figures(reports: Mapping[Part, Report], measured_on: Mapping[Part, Machine]) -> dict[str, Any]:
    """By part, its judgements and figures, with the machine as it was before the part."""
    return {part: one.content(measured_on[part]) for part, one in reports.items()}


def save(file: Path, measured: Mapping[str, Any]) -> None:
    """Write figures; those of a part that was not measured now stay, with the machine that they were measured on."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    both = {part: found for part in PARTS if (found := measured.get(part, kept.get(part))) is not None}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(both, indent=1, allow_nan=False) + "\n", encoding="utf-8")
