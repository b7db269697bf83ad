"""Finds the lowest threshold at which the accepted items provably have few errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipelines.bounds import hoeffding_bentkus_p, hoeffding_bentkus_upper_bound, p_value, upper_bound
from pipelines.certificate.certificate import REVIEW_ALL
from pipelines.certificate.found import Found
from pipelines.certificate.sample import Sample
from pipelines.certificate.sequence import walk

_POINTS = 100  # thresholds in the grid: measured no worse than 50 from n = 300 to 3,000
# Shares of the pool that a walk without a prior round begins at, and the part of delta that each has.
STARTS = ((1 / 4, 2 / 3), (1 / 10, 1 / 3))
LEAST_PART = min(part for _, part in STARTS)
_ROOM = 1.5  # a small sample's only start accepts so many times the fewest that could pass: an error or two are no end
_BACK = 0.6  # a walk begins at this share of what the prior round accepted: at its very edge, half of all walks fail
_PRIOR = 0.8  # how much of delta begins there; the rest guards against a prior round that misleads


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Thresholds from the strictest to the loosest, the share of the pool each accepts, and where delta begins.

    All (k,). It is made without looking at the calibration sample, which is what makes the walk valid.
    """

    thresholds: np.ndarray
    coverages: np.ndarray
    shares: np.ndarray


def lowest_threshold(
    sample: Sample, pool_scores: np.ndarray, *, alpha: float, delta: float, start: float | None = None
) -> Found:
    """The lowest threshold found at which P(wrong | accepted) ≤ alpha is shown, with probability 1 - delta.

    Learn then test (Angelopoulos et al., 2021): thresholds are quantiles of the pool's scores, each has an exact
    p-value for "the error among the accepted is above alpha", and a walk to looser ones holds the probability of any
    wrong claim at delta. The walk begins at several places at once, see ``ladder`` and ``walk``.

    Args:
        pool_scores: (m,) unlabelled; it may hold the sample's own scores only if that was drawn from it at random.
        start: the threshold of a prior round, of which no label is in this sample.
    """
    if not sample.n:
        return Found(threshold=REVIEW_ALL, bound=1.0)
    steps = ladder(sample, pool_scores, alpha=alpha, delta=delta, start=start)
    reached = walk(_p_values(sample, steps.thresholds, alpha), steps.shares)
    if reached is None:
        return Found(threshold=REVIEW_ALL, bound=_nearest_miss(sample, steps))
    # The walk's claim is alpha. At its end it could go on to ever smaller error rates of the same, last threshold.
    is_last = reached.index == len(steps.thresholds) - 1
    threshold = steps.thresholds[reached.index]
    bound = _bound(sample, threshold, reached.level) if is_last else alpha
    return Found(threshold=float(threshold), bound=min(alpha, bound))


def ladder(
    sample: Sample, pool_scores: np.ndarray, *, alpha: float, delta: float, start: float | None = None
) -> Ladder:
    """The thresholds to test and where the walk begins; of the sample only its size is used.

    Without a prior round the walk begins where a quarter and a tenth of the pool are accepted, as far as the sample
    could show anything there, else as high as it could. Walks that hold join, so that the last steps are mostly tested
    at all of delta. No labels are spent on finding a start; setting 30 % of them aside for it is among the rules that
    ``python -m benchmarks decisions`` compares.
    """
    shares_accepted = np.arange(1, _POINTS + 1) / _POINTS
    ordered = np.sort(pool_scores)[::-1]
    ranks = np.ceil(shares_accepted * len(ordered)).astype(int) - 1
    thresholds = np.unique(ordered[ranks])[::-1]  # ties make some of the quantiles one
    ascending = ordered[::-1]
    coverages = 1.0 - np.searchsorted(ascending, thresholds, side="left") / len(ordered)
    shares = np.zeros(len(thresholds))
    spread = delta
    if start is not None and start != REVIEW_ALL:
        target = _BACK * (1.0 - np.searchsorted(ascending, start, side="left") / len(ordered))
        passable = _first_passable(sample, coverages, alpha=alpha, level=_PRIOR * delta)
        shares[max(_at(coverages, target), passable)] += _PRIOR * delta
        spread = (1.0 - _PRIOR) * delta
    for index, part in _starts(sample, coverages, alpha=alpha, delta=delta).items():
        shares[index] += part * spread
    return Ladder(thresholds=thresholds, coverages=coverages, shares=shares)


def begins(pool_scores: np.ndarray) -> np.ndarray:
    """The thresholds that a walk without a prior round may begin at, or near for a small sample."""
    ordered = np.sort(pool_scores)[::-1]
    shares = (*(share for share, _ in STARTS), 1 / 2)
    return np.unique([ordered[math.ceil(share * len(ordered)) - 1] for share in shares])


def _starts(sample: Sample, coverages: np.ndarray, *, alpha: float, delta: float) -> dict[int, float]:
    """Steps where a walk begins, and their parts of delta, which add up to 1.

    Those of ``STARTS`` at which a sample of this size without an error would pass; if it would at none, the one step
    that accepts ``_ROOM`` times as much as it takes to pass.
    """
    passable = _first_passable(sample, coverages, alpha=alpha, level=LEAST_PART * delta)
    parts = dict[int, float]()
    for share, part in STARTS:
        if (index := _at(coverages, share)) >= passable:
            parts[index] = parts.get(index, 0.0) + part
    total = sum(parts.values())
    if not parts:
        return {_at(coverages, _ROOM * coverages[passable]): 1.0}
    return {index: part / total for index, part in parts.items()}


def _first_passable(sample: Sample, coverages: np.ndarray, *, alpha: float, level: float) -> int:
    """The strictest step at which a sample of this size and without an error would pass; the last if none is."""
    can_pass = _p_without_error(sample, coverages, alpha) <= level
    return int(np.argmax(can_pass)) if can_pass.any() else len(coverages) - 1


def _at(coverages: np.ndarray, share: float) -> int:
    """The strictest step that accepts at least this share; coverages rise to 1."""
    return min(int(np.searchsorted(coverages, share - 1e-9)), len(coverages) - 1)


def _p_without_error(sample: Sample, coverages: np.ndarray, alpha: float) -> np.ndarray:
    """What the p-values would be if nothing were wrong and the sample were like the pool."""
    if sample.is_grouped:
        return hoeffding_bentkus_p(alpha * sample.n * (1.0 - coverages), sample.n, alpha=alpha)
    return (1.0 - alpha) ** (sample.n * coverages)


def _p_values(sample: Sample, thresholds: np.ndarray, alpha: float) -> np.ndarray:
    """For "the error among the accepted is above alpha": given how many are accepted, their losses are independent."""
    if sample.is_grouped:
        return hoeffding_bentkus_p(sample.total_excess(thresholds, alpha), sample.n, alpha=alpha)
    accepted, totals = sample.accepted(thresholds), sample.total_loss(thresholds)
    if sample.is_binary:
        return p_value(np.rint(totals).astype(int), accepted, alpha=alpha)
    return hoeffding_bentkus_p(np.minimum(totals, accepted), accepted, alpha=alpha)


def _bound(sample: Sample, threshold: float, level: float) -> float:
    """The upper bound on the error among the accepted at this threshold alone; 1 for groups, which have only p."""
    if sample.is_grouped:
        return 1.0
    at = np.array([threshold])
    accepted, total = int(sample.accepted(at)[0]), float(sample.total_loss(at)[0])
    if sample.is_binary:
        return upper_bound(round(total), accepted, delta=level)
    return hoeffding_bentkus_upper_bound(min(total, accepted), accepted, delta=level)


def _nearest_miss(sample: Sample, steps: Ladder) -> float:
    """The lowest bound among the starts, none of which was passed: each was tested at its own share of delta."""
    begins = np.flatnonzero(steps.shares)
    return min(_bound(sample, steps.thresholds[index], steps.shares[index]) for index in begins)
