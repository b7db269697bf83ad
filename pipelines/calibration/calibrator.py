"""Turns a model's own score into the probability that the prediction is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from pipelines.calibration.curve_fits import fit_isotonic, fit_platt
from pipelines.calibration.curves import Curve, Isotonic, Platt
from pipelines.calibration.losses import brier, log_loss
from pipelines.calibration.reviewed import MIN_EACH, MIN_N, Reviewed

Method = Literal["platt", "isotonic"]

# From 300 answers of a smooth truth Platt leaves an ECE of 0.028, isotonic regression 0.043; from 5,000 of a staircase
# 0.081 and 0.011 (200 fits each, tests/pipelines/calibration/test_calibration_error.py). Below this the curve with two
# numbers is the safer one, though a staircase would fare better with the other.
ISOTONIC_FROM = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidated:
    """What a method loses on answers that it was not fitted on (five folds); lower is better."""

    log_loss: float
    brier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrator:
    """A fitted curve and what it was fitted on.

    Attributes:
        n, positives: answers, and how many of them were right.
        n_effective: (Σw)² / Σw² of their weights (Kish 1965); n where all weigh the same.
        platt, isotonic: what both methods lost in cross-validation, whichever was taken.
    """

    curve: Curve
    n: int
    n_effective: float
    positives: int
    fitted_at: datetime
    platt: CrossValidated
    isotonic: CrossValidated

    @property
    def method(self) -> Method:
        return self.curve.kind

    def probability(self, score: float) -> float:
        """P(right) of one score, in (0, 1), never falling with the score; about a microsecond.

        A score that is no number counts as 0.
        """
        return self.curve.probability(score)

    def apply(self, scores: Sequence[float] | np.ndarray) -> np.ndarray:
        """P(right) of many scores, (n,) float64; ``probability`` of each up to the last digit."""
        return self.curve.apply(np.asarray(scores, dtype=np.float64))


def fit(
    scores: Sequence[float] | np.ndarray,
    is_right: Sequence[bool] | np.ndarray,
    *,
    fitted_at: datetime,
    rng: np.random.Generator,
    weights: Sequence[float] | np.ndarray | None = None,
    min_n: int = MIN_N,
    min_each: int = MIN_EACH,
    isotonic_from: float = ISOTONIC_FROM,
) -> Calibrator:
    """The calibrator of these answers.

    Platt's, unless there are ``isotonic_from`` effective answers or more and isotonic regression has the lower log loss
    in five-fold cross-validation (the Brier score is kept beside it and decides nothing).

    Args:
        scores, is_right, weights: see ``Reviewed.of``; weights are 1 / propensity.
        rng: deals the answers out to folds.
        min_n, min_each: the fewest answers, and the fewest right and wrong ones among them.

    Raises:
        TooFewLabelsError: there are fewer.
        InvalidRequestError: invalid_argument, for values that ``Reviewed.of`` refuses.
    """
    reviewed = Reviewed.of(scores, is_right, weights=weights)
    reviewed.require(min_n=min_n, min_each=min_each)
    fold = reviewed.folds(rng)
    platt, isotonic = (_cross_validated(reviewed, fold, fit=method) for method in (fit_platt, fit_isotonic))
    is_bent = reviewed.n_effective >= isotonic_from and isotonic.log_loss < platt.log_loss
    return Calibrator(
        curve=fit_isotonic(reviewed) if is_bent else fit_platt(reviewed),
        n=reviewed.n,
        n_effective=reviewed.n_effective,
        positives=reviewed.right,
        fitted_at=fitted_at,
        platt=platt,
        isotonic=isotonic,
    )


def out_of_fold(reviewed: Reviewed, fold: np.ndarray, *, fit: Callable[[Reviewed], Platt | Isotonic]) -> np.ndarray:
    """(n,) P(right) of each answer by the curve that was fitted without its fold."""
    probabilities = np.empty(reviewed.n)
    for held_out in np.unique(fold):
        is_held_out = fold == held_out
        probabilities[is_held_out] = fit(reviewed.take(~is_held_out)).apply(reviewed.scores[is_held_out])
    return probabilities


def _cross_validated(
    reviewed: Reviewed, fold: np.ndarray, *, fit: Callable[[Reviewed], Platt | Isotonic]
) -> CrossValidated:
    probabilities = out_of_fold(reviewed, fold, fit=fit)
    return CrossValidated(
        log_loss=log_loss(probabilities, reviewed.is_right, weights=reviewed.weights),
        brier=brier(probabilities, reviewed.is_right, weights=reviewed.weights),
    )
