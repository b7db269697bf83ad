"""Allows for errors that reviewers overlook, measured with wrong pre-labels that were planted."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.bounds import lower_bound, upper_bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How many of the planted wrong pre-labels reviewers caught.

    Attributes:
        seeded: wrong pre-labels that were planted unseen among others.
        caught: how many of them were put right.
        lowest: with probability 1 - delta reviewers catch at least this share.
    """

    seeded: int
    caught: int
    lowest: float

    @property
    def rate(self) -> float | None:
        """The share caught; None where nothing was planted."""
        return self.caught / self.seeded if self.seeded else None


def reviewer_sensitivity(caught: int, seeded: int, *, delta: float) -> Sensitivity:
    """What planted errors say of the reviewers.

    Raises:
        InvalidRequestError: the counts or delta are impossible.
    """
    return Sensitivity(seeded=seeded, caught=caught, lowest=lower_bound(caught, seeded, delta=delta))


def corrected_bound(errors: int, n: int, *, caught: int, seeded: int, delta: float) -> float:
    """The true error rate is at most this, in [0, 1], if reviewers overlook real errors as often as planted ones.

    Upper bound on the errors found over the lower bound on the share that is found, each at delta / 2, so that both
    hold with probability 1 - delta. Without planted errors nothing is known, and the bound is 1.

    Args:
        errors: how many of n audited items reviewers found wrong.
        n: the audited items.
        caught: of ``seeded`` planted wrong pre-labels.
        delta: the probability of being wrong, in (0, 1).

    Raises:
        InvalidRequestError: the counts or delta are impossible.
    """
    lowest = lower_bound(caught, seeded, delta=delta / 2)
    return min(1.0, upper_bound(errors, n, delta=delta / 2) / lowest) if lowest > 0.0 else 1.0
