"""Shows what came of the comparisons, to machines as JSON and to people as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.machine import Machine
from benchmarks.ratio import Ratio
from benchmarks.ratios.runner import Outcome


def as_json(outcome: Outcome, machine: Machine) -> dict[str, Any]:
    """All figures, ready for ``json.dumps``."""
    return {
        "machine": asdict(machine),
        "ratios": [_figures(ratio) for ratio in outcome.ratios],
        "skipped": [asdict(unmeasured) for unmeasured in outcome.skipped],
        "failed": [asdict(unmeasured) for unmeasured in outcome.failed],
    }


def _figures(ratio: Ratio) -> dict[str, Any]:
    derived = {"median": ratio.median, "low": ratio.low, "high": ratio.high, "met": ratio.met}
    return asdict(ratio) | derived


def as_table(outcome: Outcome, machine: Machine) -> RenderableType:
    """The ratios, a row each, with what their worst round lost to other guests; below them what was not measured."""
    title = f"{machine.cpu}, {machine.cores} cores, load {machine.load_average_1min:.1f}"
    grid = Table(title=title, title_justify="left")
    for column in ("name", "ours", "peer", "ratio", "range", "stolen", "bar", "met"):
        grid.add_column(column, no_wrap=column not in ("ours", "peer"))
    for ratio in outcome.ratios:
        sign = "≥" if ratio.direction == "at_least" else "≤"
        spread = f"{ratio.low:.2f} to {ratio.high:.2f}"
        stolen = f"{max(ratio.rounds.stolen):.0%}" if ratio.rounds.stolen else ""
        bar, met = ("none", "") if ratio.bar is None else (f"{sign} {ratio.bar:g}", "yes" if ratio.met else "no")
        grid.add_row(ratio.name, ratio.ours, ratio.peer, f"{ratio.median:.2f}", spread, stolen, bar, met)
    skipped = [Text(f"skipped {one.name}: {one.reason}") for one in outcome.skipped]
    return Group(grid, *skipped, *(Text(f"failed {one.name}: {one.reason}") for one in outcome.failed))
