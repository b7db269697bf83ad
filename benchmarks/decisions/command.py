"""Measures every rule on every population, and judges ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.decisions.populations import POPULATIONS
from benchmarks.decisions.trials import METHODS, POOL, SPREAD, Cell, Method, measured
from benchmarks.judgement import Judgement, Report
from pipelines.certificate import Mode

ALPHA = DELTA = 0.05
SAMPLES = (300, 1_000, 3_000)
TRIALS, QUICK_TRIALS = 2_000, 200
SEED = 31_415  # none of the seeds that the start rule was chosen with

Key = tuple[str, int]  # population and n


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What each method came to, by population and n."""

    trials: int
    cells: Mapping[Key, Mapping[str, Cell]]

    @property
    def bar(self) -> float:
        """delta and three standard errors of a share of so many trials."""
        return DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / self.trials)

    def worst(self, method: Method) -> float:
        """The greatest violation of a method's promise, on any population at any n."""
        return max(cell[method.name].violation for cell in self.cells.values())

    def is_valid(self, method: Method) -> bool:
        """Whether a method kept its promise everywhere."""
        return self.worst(method) <= self.bar


def measure(*, quick: bool, progress: Callable[[str], None]) -> Decisions:
    """Run all trials; each population and n has a generator of its own."""
    trials = QUICK_TRIALS if quick else TRIALS
    cells = {}
    for number, (name, population) in enumerate(POPULATIONS.items()):
        for n in SAMPLES:
            rng = np.random.default_rng([SEED, number, n])
            cells[name, n] = measured(population, n, alpha=ALPHA, delta=DELTA, trials=trials, rng=rng)
            progress(f"{name}, n = {n:,}: {trials:,} trials")
    return Decisions(trials=trials, cells=cells)


def report(decisions: Decisions) -> Report:
    """What is judged, with all figures and their tables."""
    return Report(judgements=judge(decisions), figures=figures(decisions), tables=[table(decisions)])


def judge(decisions: Decisions) -> list[Judgement]:
    """Whether ours keep their promises, accept the most of those that do, and whether a broken one would show."""
    kept = [
        Judgement(
            what=f"{method.name}: most violations anywhere",
            value=decisions.worst(method),
            bar=decisions.bar,
            direction="at_most",
        )
        for method in METHODS
        if method.is_ours
    ]
    plug_in = min(cells["plug-in"].violation for (name, _), cells in decisions.cells.items() if name == "good")
    alive = Judgement(what="plug-in on good: fewest violations", value=plug_in, bar=0.4, direction="above")
    return [*kept, alive, *_most_accepted(decisions)]


def _most_accepted(decisions: Decisions) -> list[Judgement]:
    """Coverage without a prior round beside the best peer of the same promise that is valid everywhere."""
    peers = [
        method
        for method in METHODS
        if method.promise == "accepted_error" and not method.is_ours and decisions.is_valid(method)
    ]
    return [
        Judgement(
            what=f"coverage without a prior round, {name}, n = {n:,}, beside the best valid peer",
            value=cells[SPREAD].coverage,
            bar=max(cells[method.name].coverage for method in peers),
            direction="at_least",
        )
        for (name, n), cells in decisions.cells.items()
        if peers
    ]


def figures(decisions: Decisions) -> dict[str, Any]:
    """All figures, ready for ``json.dumps``."""
    return {
        "alpha": ALPHA,
        "delta": DELTA,
        "trials": decisions.trials,
        "pool": POOL,
        "seed": SEED,
        "scipy": version("scipy"),
        "oracle_coverage": {
            name: dict(zip(("accepted_error", "dataset_error"), population.oracle(ALPHA), strict=True))
            for name, population in POPULATIONS.items()
        },
        "methods": [
            {
                "name": method.name,
                "promise": method.promise,
                "valid": decisions.is_valid(method),
                "cells": [
                    {
                        "population": name,
                        "n": n,
                        "violation": cells[method.name].violation,
                        "coverage": round(cells[method.name].coverage, 4),
                    }
                    for (name, n), cells in decisions.cells.items()
                ],
            }
            for method in METHODS
        ],
    }


def table(decisions: Decisions) -> Table:
    """A row per method, a column per population and n; the oracle knows the population."""
    grid = Table(
        title=f"violations / coverage; alpha = delta = {ALPHA}, {decisions.trials:,} trials; a violation rate up to "
        f"{decisions.bar:.3f} is chance",
        title_justify="left",
    )
    grid.add_column("method")
    grid.add_column("valid")
    for name, n in decisions.cells:
        grid.add_column(f"{name}\n{n:,}", justify="right")
    promises: tuple[Mode, ...] = ("accepted_error", "dataset_error")
    for number, promise in enumerate(promises):
        grid.add_row(f"promise: {promise}", style="bold")
        for method in METHODS:
            if method.promise == promise:
                shown = [_shown(cells[method.name]) for cells in decisions.cells.values()]
                grid.add_row(method.name, "yes" if decisions.is_valid(method) else "NO", *shown)
        best = [f"{POPULATIONS[name].oracle(ALPHA)[number]:.3f}" for name, _ in decisions.cells]
        grid.add_row("oracle", "", *best, end_section=True)
    return grid


def _shown(cell: Cell) -> str:
    return f"{cell.violation:.3f}/{cell.coverage:.3f}"
