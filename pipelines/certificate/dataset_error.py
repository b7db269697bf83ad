"""Finds the lowest threshold at which the finished data set provably has few errors."""

from __future__ import annotations

import numpy as np

from pipelines.bounds import hoeffding_bentkus_p, hoeffding_bentkus_upper_bound, upper_bound
from pipelines.certificate.certificate import REVIEW_ALL
from pipelines.certificate.found import Found
from pipelines.certificate.sample import Sample


def lowest_threshold(sample: Sample, *, alpha: float, delta: float) -> Found:
    """The lowest score at which P(wrong and accepted) ≤ alpha is shown, with probability 1 - delta.

    This error never falls as the threshold does, so one bound at the threshold found is enough and nothing is paid for
    having searched: Bates et al., Distribution-free, risk-controlling prediction sets (2021), theorem 1; the same idea
    as in Candès, Ilyas and Zrnic, Probably approximately correct labels (2025). All n units count, accepted or not.
    """
    candidates = np.unique(sample.scores)[::-1]  # from the strictest down
    if not len(candidates):
        return Found(threshold=REVIEW_ALL, bound=1.0)
    totals = sample.total_loss(candidates)
    tolerated = _tolerated(sample, alpha, delta)
    allowed = np.flatnonzero(totals <= tolerated)
    if not len(allowed):
        return Found(threshold=REVIEW_ALL, bound=_bound(sample, totals[0], delta))
    last = int(allowed[-1])
    bound = _proven(sample, totals[last], tolerated, alpha=alpha, delta=delta, accepts_all=last == len(candidates) - 1)
    return Found(threshold=float(candidates[last]), bound=bound)


def _proven(sample: Sample, total: float, tolerated: float, *, alpha: float, delta: float, accepts_all: bool) -> float:
    """The bound at the errors seen if everything is accepted, for that threshold was not searched for.

    Elsewhere it is the bound at the errors that were tolerated: those that the search goes on to, whatever the data.
    """
    return min(alpha, _bound(sample, total if accepts_all else tolerated, delta))  # a bisection may end a digit above


def _bound(sample: Sample, total: float, delta: float) -> float:
    if sample.is_binary:
        return upper_bound(round(total), sample.n, delta=delta)
    return hoeffding_bentkus_upper_bound(min(total, sample.n), sample.n, delta=delta)


def _tolerated(sample: Sample, alpha: float, delta: float) -> float:
    """The greatest total loss whose bound is at most alpha; -1 where there is none."""
    if sample.is_binary:
        return _most_errors(sample.n, alpha, delta)
    low, high = -1.0, alpha * sample.n  # the bound is at most alpha at low, or low is -1
    if hoeffding_bentkus_p(0.0, sample.n, alpha=alpha) > delta:
        return low
    low = 0.0
    while high - low > 1e-9 * sample.n:
        middle = (low + high) / 2
        if hoeffding_bentkus_p(middle, sample.n, alpha=alpha) <= delta:
            low = middle
        else:
            high = middle
    return low


def _most_errors(n: int, alpha: float, delta: float) -> int:
    from scipy.stats import binom

    errors = int(binom.ppf(delta, n, alpha))  # the fewest whose p-value is at least delta: this many, or one fewer
    while errors >= 0 and upper_bound(errors, n, delta=delta) > alpha:
        errors -= 1
    return errors
