"""Estimates how many more labels would certify a threshold."""

from __future__ import annotations

import math

import numpy as np

from pipelines.bounds import hoeffding_bentkus_p, p_value, zero_error_n
from pipelines.certificate.certificate import Mode
from pipelines.certificate.sample import Sample

_MOST = 100_000_000  # labels; what needs more is not in sight
_COUNTS = 200  # numbers of labels that are tried, geometrically spaced


def labels_needed(sample: Sample, thresholds: np.ndarray, *, mode: Mode, alpha: float, level: float) -> int | None:
    """How many more random labels would certify one of the thresholds if their error rates stayed as seen.

    The threshold that needs the fewest is taken, by luck or not, and at the very number certifying succeeds in about
    half of all samples: an estimate to plan with. In all at least ``zero_error_n`` are needed.

    Args:
        thresholds: (k,), those that may be certified.
        level: what the p-value must come down to.

    Returns:
        At least 1 (groups, where those are the unit), or None where at every threshold the rate seen is not below
        alpha.
    """
    least = zero_error_n(alpha, level)
    if not sample.n:
        return least
    rates, shares = _rates(sample, thresholds, mode, alpha)
    possible = np.flatnonzero(rates < alpha)
    if not len(possible):
        return None
    # How many are needed goes with (alpha - rate)^-2, and only the share that counts of them helps.
    best = possible[np.argmax((alpha - rates[possible]) ** 2 * shares[possible])]
    counted = _counted(float(rates[best]), alpha=alpha, level=level, least=least, is_binary=sample.is_binary)
    return None if counted is None else max(math.ceil(counted / shares[best]) - sample.n, 1)


def _rates(sample: Sample, thresholds: np.ndarray, mode: Mode, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """What is tested against alpha at each threshold, and the share of all units that it is a mean over."""
    everybody = np.ones(len(thresholds))
    if mode == "dataset_error":
        return sample.total_loss(thresholds) / sample.n, everybody
    if sample.is_grouped:
        return sample.total_excess(thresholds, alpha) / sample.n, everybody
    accepted = sample.accepted(thresholds)
    rates = np.divide(sample.total_loss(thresholds), accepted, out=np.ones(len(thresholds)), where=accepted > 0)
    return rates, accepted / sample.n


def _counted(rate: float, *, alpha: float, level: float, least: int, is_binary: bool) -> int | None:
    """How many units that count would do at this rate."""
    counts = np.unique(np.geomspace(least, _MOST, _COUNTS).astype(int))
    totals = rate * counts
    if is_binary:
        p_values = p_value(np.ceil(totals - 1e-9).astype(int), counts, alpha=alpha)
    else:
        p_values = hoeffding_bentkus_p(totals, counts, alpha=alpha)
    enough = np.flatnonzero(p_values <= level)
    return int(counts[enough[0]]) if len(enough) else None
