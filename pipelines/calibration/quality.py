"""Measures how well probabilities say what happens, and how well they rank; pure functions of arrays.

An event is whatever the probabilities are of, so the same function gives other papers' measures by other names: over
tokens ("this tag is right") ``ece`` is the token-ECE, over predicted entities ("exactly this span and type is right")
the span-ECE (Jagannatha & Yu 2020), over words the calibration error of a transcript, over items that of routing.

Weights, where given, are 1 / propensity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.calibration.reliability import BINS, Binning, bin_of

DETECTION_BINS = 25


def ece(
    probabilities: np.ndarray,
    is_right: np.ndarray,
    *,
    bins: int = BINS,
    binning: Binning = "width",
    weights: np.ndarray | None = None,
) -> float:
    """Expected calibration error: Σ_b share(b) · |mean probability(b) − share right(b)|.

    In [0, 1]; lower is better. It is biased upwards by chance: with n answers in all, calibrated probabilities give
    up to 0.4 √(bins / n), so compare only numbers of equal n and bins.

    Args:
        binning: "width" for bins of equal width (Naeini et al. 2015; Guo et al. 2017), "mass" for bins of equal
            weight, which is called adaptive (Nguyen & O'Connor 2015; Nixon et al. 2019).
    """
    return _gap(probabilities, is_right.astype(np.float64), bins=bins, binning=binning, weights=weights)


def d_ece(
    scores: np.ndarray,
    is_right: np.ndarray,
    *,
    labels: Sequence[str] | None = None,
    bins: int = DETECTION_BINS,
    weights: np.ndarray | None = None,
) -> float:
    """Detection ECE: Σ_j |D_j|/|D| · |mean score(j) − precision(j)| over bins of equal width of the score.

    In [0, 1]; lower is better. Küppers et al. 2020, over the score alone.

    Args:
        is_right: (n,) bool, whether each detection was matched (pipelines/calibration/matching.py says how).
        labels: (n,) the class of each; given, the error is the mean over classes of the error within each.
    """
    if labels is None:
        return ece(scores, is_right, bins=bins, weights=weights)
    return _over_classes(labels, scores, is_right.astype(np.float64), bins=bins, weights=weights)


def la_ece(
    scores: np.ndarray,
    ious: np.ndarray,
    *,
    labels: Sequence[str],
    bins: int = DETECTION_BINS,
    weights: np.ndarray | None = None,
) -> float:
    """Localisation-aware ECE: 1/K Σ_c Σ_j |D_j^c|/|D^c| · |mean score − precision · mean IoU of the matched|.

    In [0, 1]; lower is better; a score is perfect when it is the IoU to expect. Precision times the mean IoU of the
    matched is the mean over all of the IoU with 0 for the unmatched, which is how it is computed. Oksuz et al. 2023.

    Args:
        ious: (n,) in [0, 1], of each detection with the object that it was matched to, 0 where there is none.
    """
    return _over_classes(labels, scores, ious.astype(np.float64), bins=bins, weights=weights)


def auroc(scores: np.ndarray, is_right: np.ndarray, *, weights: np.ndarray | None = None) -> float:
    """P(a right one scores above a wrong one), ties count half; in [0, 1], ½ for no ranking at all, higher is better.

    NaN where all are right or all are wrong. Hanley & McNeil 1982.
    """
    given = np.ones(len(scores)) if weights is None else weights
    values, place = np.unique(scores, return_inverse=True)
    right = np.bincount(place, weights=given * is_right, minlength=len(values))
    wrong = np.bincount(place, weights=given * ~is_right, minlength=len(values))
    if not right.any() or not wrong.any():
        return float("nan")
    below = np.cumsum(wrong) - wrong
    return float((right * (below + wrong / 2.0)).sum() / (right.sum() * wrong.sum()))


def _over_classes(
    labels: Sequence[str], scores: np.ndarray, target: np.ndarray, *, bins: int, weights: np.ndarray | None
) -> float:
    of_class = np.asarray(labels, dtype=object)
    gaps = [
        _gap(scores[own], target[own], bins=bins, binning="width", weights=None if weights is None else weights[own])
        for label in sorted(set(labels))
        if len(own := np.flatnonzero(of_class == label))
    ]
    return float(np.mean(gaps)) if gaps else 0.0


def _gap(
    probabilities: np.ndarray, target: np.ndarray, *, bins: int, binning: Binning, weights: np.ndarray | None
) -> float:
    """Σ_b share(b) · |mean probability(b) − mean target(b)|; 0 for nothing at all."""
    if not len(probabilities):
        return 0.0
    given = np.ones(len(probabilities)) if weights is None else weights
    place = bin_of(probabilities, bins=bins, binning=binning, weights=given)
    gaps = np.bincount(place, weights=given * (probabilities - target), minlength=bins)
    return float(np.abs(gaps).sum() / given.sum())
