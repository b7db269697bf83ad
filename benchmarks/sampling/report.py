"""Puts together what sampling saves and costs, with its claims judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.judgement import Report
from benchmarks.sampling import savings, scale
from benchmarks.sampling.digits import Kind
from pipelines.sampling import STRATEGIES

_SEEDS, _QUICK_SEEDS = 20, 6


def measure(*, quick: bool, progress: Callable[[str], None]) -> Report:
    """Label savings on digits, and time and memory at scale; with ``quick`` fewer seeds, strategies and items."""
    seeds, arms = (_QUICK_SEEDS, savings.QUICK_ARMS) if quick else (_SEEDS, savings.ARMS)
    found: dict[Kind, dict[str, dict[str, Any]]] = {
        kind: savings.figures(savings.learning_curves(kind, arms, seeds=seeds, progress=progress))
        for kind in savings.KINDS
    }
    scaled = scale.measure(
        items=scale.QUICK_ITEMS if quick else scale.ITEMS,
        budget=scale.QUICK_BUDGET if quick else scale.BUDGET,
        strategies=["hybrid"] if quick else list(STRATEGIES),
        progress=progress,
    )
    return Report(
        judgements=[*savings.judgements(found, seeds=seeds), *scale.judgements(scaled)],
        figures={"is_quick": quick, "seeds": seeds, "savings": found, "scale": scaled},
        tables=[*(_saved(kind, arms, seeds) for kind, arms in found.items()), _scaled(scaled)],
    )


def _saved(kind: str, arms: Mapping[str, Mapping[str, Any]], seeds: int) -> Table:
    grid = Table(title=f"digits, {kind}, {seeds} seeds", title_justify="left")
    names = ("gain_in_area", "wins", "accuracy_at_100", "labels_to_0.90", "labels_to_0.92", "labels_to_0.94")
    grid.add_column("strategy", no_wrap=True)
    for name in names:
        grid.add_column(name.replace("_", " "), justify="right")
    for arm, figures in arms.items():
        grid.add_row(arm, *("never" if figures[name] is None else str(figures[name]) for name in names))
    return grid


def _scaled(found: Sequence[Mapping[str, Any]]) -> Table:
    grid = Table(title=f"{found[0]['items']:,} × {found[0]['dimension']} float16", title_justify="left")
    grid.add_column("strategy", no_wrap=True)
    for name in ("budget", "wall_s", "cpu_s", "peak_gib"):
        grid.add_column(name.replace("_", " "), justify="right")
    for one in found:
        grid.add_row(one["strategy"], *(str(one[name]) for name in ("budget", "wall_s", "cpu_s", "peak_gib")))
    return grid
