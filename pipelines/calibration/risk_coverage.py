"""Shows what accepting the safest predictions costs: the error among them, for every share of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """A risk–coverage curve (El-Yaniv & Wiener 2010).

    Attributes:
        coverage: (n,) share of the weight that is accepted, rising to 1.
        risk: (n,) share of the accepted that is wrong, in [0, 1].
        area: mean risk over all coverages, AURC; lower is better (Geifman et al. 2019).
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float


def risk_coverage(scores: np.ndarray, is_right: np.ndarray, *, weights: np.ndarray | None = None) -> RiskCoverage:
    """The curve of accepting the highest scores first.

    Among equal scores the order is chance, so each counts as wrong as their mean.

    Args:
        scores: (n,), n ≥ 1; higher is safer.
        weights: 1 / propensity.
    """
    given = np.ones(len(scores)) if weights is None else weights
    values, place = np.unique(scores, return_inverse=True)
    mass = np.bincount(place, weights=given, minlength=len(values))
    mean_loss = np.bincount(place, weights=given * ~is_right, minlength=len(values)) / mass
    order = np.argsort(-scores, kind="stable")
    accepted = np.cumsum(given[order])
    risk = np.cumsum(given[order] * mean_loss[place[order]]) / accepted
    return RiskCoverage(
        coverage=accepted / accepted[-1],
        risk=risk,
        area=float(np.average(risk, weights=given[order])),
    )
