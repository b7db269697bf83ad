"""Runs every rule on simulated populations, once for all tests that look at the outcome."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np

from benchmarks.decisions.populations import POPULATIONS
from benchmarks.decisions.trials import Cell, measured

ALPHA = DELTA = 0.05


@functools.cache
def outcomes(population: str, n: int, trials: int) -> Mapping[str, Cell]:
    """By method, how often it broke its promise and how much it accepted."""
    rng = np.random.default_rng([7, sorted(POPULATIONS).index(population), n])
    return measured(POPULATIONS[population], n, alpha=ALPHA, delta=DELTA, trials=trials, rng=rng)


def bar(trials: int) -> float:
    """delta and three standard errors; 0.071 for 1,000 trials."""
    return DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / trials)
