"""Estimates P(nothing of a prediction needs a correction), the confidence by which items are ranked and routed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from pipelines.calibration.calibrator import Calibrator, fit, out_of_fold
from pipelines.calibration.combiner import Combiner
from pipelines.calibration.combiner_fit import fit_combiner
from pipelines.calibration.curve_fits import fit_platt
from pipelines.calibration.losses import log_losses
from pipelines.calibration.reviewed import MIN_EACH, MIN_N, Reviewed
from pipelines.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScore:
    """A fitted item confidence.

    Attributes:
        combiner: of the named features; None where it was no better than the raw score alone.
        on_raw: Platt's curve over the raw score.
        n, positives: items, and how many of them needed no correction.
        combiner_log_loss, raw_log_loss: in five-fold cross-validation; lower is better.
    """

    combiner: Combiner | None
    on_raw: Calibrator
    n: int
    positives: int
    fitted_at: datetime
    combiner_log_loss: float
    raw_log_loss: float

    @property
    def method(self) -> Literal["combiner", "raw"]:
        return "raw" if self.combiner is None else "combiner"

    def probability(self, features: Mapping[str, float], *, raw: float) -> float:
        """P(acceptable as it is) in (0, 1), from what ``features`` and ``raw_score`` give for the prediction."""
        return self.on_raw.probability(raw) if self.combiner is None else self.combiner.probability(features)


def fit_item(
    rows: Sequence[Mapping[str, float]],
    is_acceptable: Sequence[bool] | np.ndarray,
    *,
    raw_scores: Sequence[float] | np.ndarray,
    fitted_at: datetime,
    rng: np.random.Generator,
    weights: Sequence[float] | np.ndarray | None = None,
    min_n: int = MIN_N,
    min_each: int = MIN_EACH,
) -> ItemScore:
    """The item confidence of these answers.

    The combiner is taken where its log loss in five-fold cross-validation is lower than that of Platt's curve over the
    raw score by more than one standard error of the difference (Breiman et al. 1984); otherwise the curve,
    which has two numbers instead of nine. The curve is never isotonic: its steps would tie items that the raw score
    tells apart.

    Args:
        rows: what ``features`` gave for each item.
        is_acceptable: (n,) whether nothing of the item's prediction needed a correction.
        raw_scores: what ``raw_score`` gave for each item.
        weights: 1 / propensity, as for ``Reviewed.of``.
        rng: deals the items out to folds.

    Raises:
        TooFewLabelsError: fewer than ``min_n`` items, or fewer than ``min_each`` acceptable or unacceptable ones.
        InvalidRequestError: invalid_argument, for values that ``Reviewed.of`` refuses, or a feature that is no number.
    """
    reviewed = Reviewed.of(raw_scores, is_acceptable, weights=weights)
    reviewed.require(min_n=min_n, min_each=min_each)
    if len(rows) != reviewed.n or not all(math.isfinite(value) for row in rows for value in row.values()):
        raise InvalidRequestError(
            "invalid_argument",
            f"got {len(rows)} rows of features for {reviewed.n} items; wanted one for each, of finite numbers",
        )
    fold = reviewed.folds(rng)
    of_raw = log_losses(out_of_fold(reviewed, fold, fit=fit_platt), reviewed.is_right)
    of_combiner = log_losses(_combined_out_of_fold(rows, reviewed, fold), reviewed.is_right)
    return ItemScore(
        combiner=fit_combiner(rows, reviewed.is_right, weights=reviewed.weights)
        if _is_clearly_lower(of_combiner, of_raw, reviewed.weights)
        else None,
        on_raw=fit(
            reviewed.scores,
            reviewed.is_right,
            weights=reviewed.weights,
            fitted_at=fitted_at,
            rng=rng,
            min_n=min_n,
            min_each=min_each,
            isotonic_from=math.inf,
        ),
        n=reviewed.n,
        positives=reviewed.right,
        fitted_at=fitted_at,
        combiner_log_loss=float(np.average(of_combiner, weights=reviewed.weights)),
        raw_log_loss=float(np.average(of_raw, weights=reviewed.weights)),
    )


def _combined_out_of_fold(rows: Sequence[Mapping[str, float]], reviewed: Reviewed, fold: np.ndarray) -> np.ndarray:
    """(n,) P(acceptable) of each item by the combiner that was fitted without its fold."""
    probabilities = np.empty(reviewed.n)
    for held_out in np.unique(fold):
        others = reviewed.take(fold != held_out)
        of_others = [row for row, own in zip(rows, fold, strict=True) if own != held_out]
        combiner = fit_combiner(of_others, others.is_right, weights=others.weights)
        of_fold = [row for row, own in zip(rows, fold, strict=True) if own == held_out]
        probabilities[fold == held_out] = [combiner.probability(row) for row in of_fold]
    return probabilities


def _is_clearly_lower(losses: np.ndarray, than: np.ndarray, weights: np.ndarray) -> bool:
    """Whether the weighted mean is lower by more than one standard error of the paired difference."""
    gain = than - losses
    mean = float(np.average(gain, weights=weights))
    standard_error = float(np.sqrt(np.square(weights * (gain - mean)).sum()) / weights.sum())
    return mean > standard_error
