"""Watches a stream of audits with evidence that may be looked at after every single one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.audit.estimate import checked
from pipelines.bounds import require_probability
from pipelines.errors import InvalidRequestError

Claim = Literal["above", "below"]

# Each bet wins fastest at one error rate, given as a multiple of alpha. Those of the alarm are, at alpha = 0.05 and
# without weights, bets of about 0.5, 1, 2, 4, 8 and 12.
_RATES_ABOVE = (1.5, 2.0, 3.0, 5.0, 9.0, 13.0)
_RATES_BELOW = (0.9, 0.8, 0.6, 0.4, 0.2, 0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How the evidence grew, observation by observation.

    Attributes:
        claim: that the error rate is "above" alpha, or "below".
        alpha: the error rate it is held against.
        delta: the probability of the claim ever being made wrongly.
        log_e: (n,) the natural logarithm of the e-value after each observation.
    """

    claim: Claim
    alpha: float
    delta: float
    log_e: np.ndarray

    @property
    def crossed_after(self) -> int | None:
        """After how many observations the e-value was first at least 1 / delta; None if it never was."""
        crossed = np.flatnonzero(self.log_e >= -math.log(self.delta))
        return int(crossed[0]) + 1 if len(crossed) else None

    @property
    def is_shown(self) -> bool:
        """Whether the claim is made. Once made it stays, as later evidence does not unmake it."""
        return self.crossed_after is not None


def alarm(
    losses: np.ndarray,
    *,
    alpha: float,
    delta: float,
    probabilities: np.ndarray | None = None,
    least_probability: float = 1.0,
) -> Evidence:
    """Evidence that the error rate is above alpha: time to stop accepting.

    A gambler bets on errors: wealth Π (1 + bet · (Z - alpha)) does not grow on average while the rate is at most alpha,
    so it ever reaches 1 / delta with probability at most delta (Ville, 1939). The mean over several bets is such a
    wealth too: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting (2023), section 4.

    Args:
        losses: (n,) in [0, 1] in the order they came. One value per audited item; or, weighted, one per routed item,
            with 0 for those that were not audited or not accepted.
        alpha: the error rate that may be, in (0, 1).
        delta: the probability of a false alarm, however often one looks, in (0, 1).
        probabilities: (n,) of being audited, each at least ``least_probability``, where an observation is weighted:
            Z = loss · audited / probability. None: Z = loss.
        least_probability: the lowest probability that is ever used, in (0, 1]; fixed beforehand.

    Raises:
        InvalidRequestError: the arrays do not fit together, or a value is out of range.
    """
    z = _weighted(losses, probabilities, least_probability, alpha, delta)
    multiples = np.array([rate for rate in _RATES_ABOVE if rate * alpha < 1.0] or [(1.0 / alpha + 1.0) / 2])
    bets = (multiples - 1.0) / (1.0 / least_probability - alpha)
    return Evidence(claim="above", alpha=alpha, delta=delta, log_e=_log_wealth(z - alpha, bets))


def proof(
    losses: np.ndarray,
    *,
    alpha: float,
    delta: float,
    probabilities: np.ndarray | None = None,
    least_probability: float = 1.0,
) -> Evidence:
    """Evidence that the error rate is below alpha: a certificate that may be asked for after every audit.

    Wealth Π (1 + bet · (alpha - Z)) with bets below 1 / (1 / least_probability - alpha), so that it stays positive:
    Xu et al., Active, anytime-valid risk controlling prediction sets (2024). Arguments and errors as for ``alarm``.
    """
    z = _weighted(losses, probabilities, least_probability, alpha, delta)
    bets = (1.0 - np.array(_RATES_BELOW)) / (1.0 / least_probability - alpha)
    return Evidence(claim="below", alpha=alpha, delta=delta, log_e=_log_wealth(alpha - z, bets))


def _weighted(
    losses: np.ndarray, probabilities: np.ndarray | None, least_probability: float, alpha: float, delta: float
) -> np.ndarray:
    require_probability("alpha", alpha)
    require_probability("delta", delta)
    if not 0.0 < least_probability <= 1.0:
        raise InvalidRequestError(
            "invalid_argument", f"least_probability must be above 0 and at most 1; got {least_probability}"
        )
    losses, weights = checked(losses, np.ones(np.shape(losses)) if probabilities is None else probabilities)
    if np.any(weights < least_probability):
        raise InvalidRequestError(
            "invalid_argument", f"a probability of {weights.min()} is below least_probability, {least_probability}"
        )
    return losses / weights


def _log_wealth(gains: np.ndarray, bets: np.ndarray) -> np.ndarray:
    """(n,) log of the mean over bets of the product of 1 + bet · gain so far, gains (n,) and bets (k,)."""
    from scipy.special import logsumexp

    wealth = np.cumsum(np.log1p(bets[:, None] * gains), axis=1)  # (k, n)
    return logsumexp(wealth, axis=0) - math.log(len(bets))
