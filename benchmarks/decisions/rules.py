"""Chooses thresholds as others do, for many calibration samples at once.

Every rule takes (t, n) scores and losses, losses 0 or 1, and gives (t,) thresholds; infinity accepts nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_GRID = 50  # thresholds that Bonferroni pays for
_SET_ASIDE = 0.3  # of the labels, to find where the walk begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Calibration samples, safest items first.

    Attributes:
        scores, losses: (t, n) as drawn.
        ordered: (t, n) scores from the highest down.
        errors: (t, n) wrong ones among the safest 1, 2, … n.
        pool: (m,) scores of unlabelled items, from the highest down.
    """

    scores: np.ndarray
    losses: np.ndarray
    ordered: np.ndarray
    errors: np.ndarray
    pool: np.ndarray

    @property
    def n(self) -> int:
        return self.scores.shape[1]


def samples(scores: np.ndarray, losses: np.ndarray, pool: np.ndarray) -> Samples:
    """Sort once for all rules."""
    order = np.argsort(-scores, axis=1)
    return Samples(
        scores=scores,
        losses=losses,
        ordered=np.take_along_axis(scores, order, axis=1),
        errors=np.cumsum(np.take_along_axis(losses, order, axis=1), axis=1),
        pool=np.sort(pool)[::-1],
    )


def plug_in(drawn: Samples, *, alpha: float, delta: float) -> np.ndarray:
    """The lowest threshold at which the accepted's error seen is at most alpha: no allowance for chance."""
    del delta
    return _lowest(drawn, drawn.errors <= alpha * np.arange(1, drawn.n + 1))


def plug_in_dataset(drawn: Samples, *, alpha: float, delta: float) -> np.ndarray:
    """The same for the error seen among all items."""
    del delta
    return _lowest(drawn, drawn.errors <= alpha * drawn.n)


def selective_crc(drawn: Samples, *, alpha: float, delta: float) -> np.ndarray:
    """Conformal risk control among the accepted, (errors + 1) / (accepted + 1) ≤ alpha: holds on average alone.

    Angelopoulos et al., Conformal risk control (2022), its bound applied to the items a threshold selects.
    """
    del delta
    return _lowest(drawn, drawn.errors + 1 <= alpha * (np.arange(1, drawn.n + 1) + 1))


def crc_dataset(drawn: Samples, *, alpha: float, delta: float) -> np.ndarray:
    """Conformal risk control of all items, (errors + 1) / (n + 1) ≤ alpha: holds on average alone."""
    del delta
    return _lowest(drawn, drawn.errors + 1 <= alpha * (drawn.n + 1))


def sgr(drawn: Samples, *, alpha: float, delta: float) -> np.ndarray:
    """Selection with guaranteed risk: a binary search, each of its steps tested at an equal part of delta.

    Geifman and El-Yaniv, Selective classification for deep neural networks (2017), algorithm 1, with integer counts.
    """
    trials, n = drawn.scores.shape
    steps = math.ceil(math.log2(n))
    low, high, best = np.zeros(trials, int), np.full(trials, n - 1), np.full(trials, -1)
    for _ in range(steps):
        middle = (low + high + 1) // 2
        errors = drawn.errors[np.arange(trials), middle]
        holds = (_p_value(errors, middle + 1, alpha) <= delta / steps) & (low <= high)
        best = np.where(holds, np.maximum(best, middle), best)
        low, high = np.where(holds, middle + 1, low), np.where(holds, high, middle - 1)
        low, high = np.minimum(low, n - 1), np.maximum(high, 0)
    return _at(drawn, best)


def bonferroni(drawn: Samples, *, alpha: float, delta: float) -> np.ndarray:
    """Learn then test on 50 quantiles of the pool, each at delta / 50; the lowest that passes."""
    grid = _grid(drawn.pool, _GRID)
    passes = _grid_p_values(drawn.scores, drawn.losses, grid, alpha) <= delta / _GRID
    last = _GRID - 1 - np.argmax(passes[:, ::-1], axis=1)
    return np.where(passes.any(axis=1), grid[last], np.inf)


def split_start(drawn: Samples, *, alpha: float, delta: float) -> np.ndarray:
    """Learn then test by one walk at all of delta; 30 % of the labels only say where it begins.

    It begins where those labels give the smallest p-value.
    """
    grid = _grid(drawn.pool, _GRID)
    aside = int(_SET_ASIDE * drawn.n)
    start = np.argmin(_grid_p_values(drawn.scores[:, :aside], drawn.losses[:, :aside], grid, alpha), axis=1)
    passes = _grid_p_values(drawn.scores[:, aside:], drawn.losses[:, aside:], grid, alpha) <= delta
    is_walked = np.arange(_GRID) >= start[:, None]
    held = np.logical_and.accumulate(passes | ~is_walked, axis=1) & is_walked
    last = _GRID - 1 - np.argmax(held[:, ::-1], axis=1)
    return np.where(held.any(axis=1), grid[last], np.inf)


def _lowest(drawn: Samples, allowed: np.ndarray) -> np.ndarray:
    """The lowest score at which (t, n) allowed is true."""
    last = drawn.n - 1 - np.argmax(allowed[:, ::-1], axis=1)
    return _at(drawn, np.where(allowed.any(axis=1), last, -1))


def _at(drawn: Samples, position: np.ndarray) -> np.ndarray:
    trials = np.arange(len(position))
    return np.where(position >= 0, drawn.ordered[trials, np.maximum(position, 0)], np.inf)


def _grid(pool: np.ndarray, points: int) -> np.ndarray:
    """Scores that accept 1 / points, 2 / points, … of a pool that is sorted from the highest down."""
    return pool[np.ceil(np.arange(1, points + 1) / points * len(pool)).astype(int) - 1]


def _grid_p_values(scores: np.ndarray, losses: np.ndarray, grid: np.ndarray, alpha: float) -> np.ndarray:
    """(t, k) p-values at (k,) thresholds."""
    accepted, errors = (np.empty((len(scores), len(grid)), int) for _ in range(2))
    for number, threshold in enumerate(grid):
        is_accepted = scores >= threshold
        accepted[:, number] = is_accepted.sum(axis=1)
        errors[:, number] = (losses * is_accepted).sum(axis=1)
    return _p_value(errors, accepted, alpha)


def _p_value(errors: np.ndarray, n: np.ndarray, alpha: float) -> np.ndarray:
    from scipy.stats import binom

    return binom.cdf(errors, n, alpha)
