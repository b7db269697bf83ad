"""Estimates from audited items how many of all are wrong; for dashboards, not for promises."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipelines.bounds import require_probability
from pipelines.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEstimate:
    """The mean loss of all items, estimated from those that were audited.

    Attributes:
        error: the estimate, ≥ 0; unbiased, and so above 1 by bad luck.
        low, high: an approximate two-sided interval, in [0, 1].
        standard_error: of the estimate.
        n: how many items there are, audited or not.
        n_audited: how many were audited.
        effective_n: how many items audited at random would tell as much.
    """

    error: float
    low: float
    high: float
    standard_error: float
    n: int
    n_audited: int
    effective_n: float


def estimated_error(
    losses: np.ndarray, probabilities: np.ndarray, *, n: int, confidence: float = 0.95
) -> ErrorEstimate:
    """Weigh every audited item with how improbable its audit was: Σ loss / probability / n.

    Horvitz and Thompson (1952). Unbiased where each item's probability was fixed before anybody knew its loss, whatever
    the probabilities are: a mean over the audited alone is not. Items that a person reviewed anyway have probability 1.
    The interval is that of Korn and Graubard (1998): Clopper and Pearson's at the effective n, as an interval from the
    standard error alone would be empty where no error was found.

    Args:
        losses: (m,) of the audited items, in [0, 1].
        probabilities: (m,) of their being audited, in (0, 1], as they were when it was decided.
        n: of all items that could have been audited, m or more.
        confidence: of the interval, in (0, 1).

    Raises:
        InvalidRequestError: the arrays do not fit together, or a value is out of range.
    """
    from scipy.stats import beta

    require_probability("confidence", confidence)
    losses, probabilities = checked(losses, probabilities)
    if n < max(len(losses), 1):
        raise InvalidRequestError("invalid_argument", f"n must be at least the {len(losses)} audited; got {n}")
    weighted = losses / probabilities
    error = float(weighted.sum() / n)
    # Of n values, all but m are zero.
    variance = max(float((weighted**2).sum() / n - error**2), 0.0) / max(n - 1, 1)
    counted = _effective_n(error, variance, probabilities)
    wrong, tail = min(error, 1.0) * counted, (1.0 - confidence) / 2
    return ErrorEstimate(
        error=error,
        low=float(beta.ppf(tail, wrong, counted - wrong + 1.0)) if wrong > 0.0 else 0.0,
        high=float(beta.ppf(1.0 - tail, wrong + 1.0, counted - wrong)) if wrong < counted else 1.0,
        standard_error=math.sqrt(variance),
        n=n,
        n_audited=len(losses),
        effective_n=counted,
    )


def checked(losses: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses and probabilities of audited items as (m,) floats.

    Raises:
        InvalidRequestError: they do not fit together, or a value is out of range.
    """
    losses, probabilities = np.asarray(losses, dtype=float), np.asarray(probabilities, dtype=float)
    if losses.ndim != 1 or losses.shape != probabilities.shape:
        raise InvalidRequestError(
            "invalid_argument", f"one probability per loss; got {losses.shape} losses, {probabilities.shape} of them"
        )
    if not np.all((losses >= 0.0) & (losses <= 1.0)):
        raise InvalidRequestError("invalid_argument", "losses must be in [0, 1]; at least one is not")
    if not np.all((probabilities > 0.0) & (probabilities <= 1.0)):
        raise InvalidRequestError(
            "invalid_argument", "probabilities must be above 0 and at most 1; at least one is not"
        )
    return losses, probabilities


def _effective_n(error: float, variance: float, probabilities: np.ndarray) -> float:
    """From the variance, or from the weights alone (Kish, 1965) where no error was found or all were errors."""
    if variance > 0.0 and 0.0 < error < 1.0:
        return error * (1.0 - error) / variance
    weights = 1.0 / probabilities
    return float(weights.sum() ** 2 / (weights**2).sum()) if len(weights) else 0.0
