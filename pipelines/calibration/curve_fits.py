"""Fits the curves that turn scores into probabilities; scikit-learn is imported only here and only when called."""

from __future__ import annotations

import numpy as np

from pipelines.calibration.curves import Isotonic, Platt, logits
from pipelines.calibration.reviewed import Reviewed

# A ridge on the slope far weaker than one answer: it only decides where all scores are equal.
_INVERSE_PENALTY = 1e3


def fit_platt(reviewed: Reviewed) -> Platt:
    """Logistic regression on the logit of the score.

    The targets are (r + 1)/(r + 2) for right and 1/(w + 2) for wrong answers, with r and w their effective numbers, so
    that answers which the score separates perfectly still give a finite slope (Platt 1999). Where a falling
    curve would fit best, the best that does not fall is flat: the slope is 0 and all get the same probability.
    """
    from sklearn.linear_model import LogisticRegression

    is_right, weights = reviewed.is_right, reviewed.weights
    right, wrong = float(weights[is_right].sum()), float(weights[~is_right].sum())
    target = np.where(is_right, (right + 1.0) / (right + 2.0), 1.0 / (wrong + 2.0))
    z = logits(reviewed.scores)
    # A soft target is the same as two answers, one of each kind, that share its weight.
    twice = np.concatenate([z, z])[:, None]
    answers = np.repeat([1, 0], reviewed.n)
    shared = np.concatenate([weights * target, weights * (1.0 - target)])
    model = LogisticRegression(C=_INVERSE_PENALTY, solver="newton-cholesky", tol=1e-9)
    model.fit(twice, answers, sample_weight=shared)
    slope, intercept = (float(np.ravel(found)[0]) for found in (model.coef_, model.intercept_))
    if slope <= 0.0:
        mean = float(np.average(target, weights=weights))
        return Platt(slope=0.0, intercept=float(np.log(mean / (1.0 - mean))))
    return Platt(slope=slope, intercept=intercept)


def fit_isotonic(reviewed: Reviewed) -> Isotonic:
    """Isotonic regression whose ends never say 0 or 1.

    One imagined wrong answer at the highest score and one imagined right answer at the lowest, each with the weight of
    one real answer, are part of the fit: k right answers alone at the top give at most k/(k + 1). A Venn–Abers
    predictor does the same with the score that it is asked about (Vovk & Petej 2014).
    """
    from sklearn.isotonic import IsotonicRegression

    scores = np.concatenate([reviewed.scores, [reviewed.scores.min(), reviewed.scores.max()]])
    answers = np.concatenate([reviewed.is_right, [True, False]]).astype(np.float64)
    weights = np.concatenate([reviewed.weights, [1.0, 1.0]])
    model = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip")
    model.fit(scores, answers, sample_weight=weights)
    return Isotonic(
        x=tuple(float(x) for x in model.X_thresholds_),
        y=tuple(float(y) for y in np.maximum.accumulate(model.y_thresholds_)),  # equal up to rounding in a pool
    )
