"""Bounds what is still wrong in a finished batch of which some accepted items were audited."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.bounds import require_probability
from pipelines.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCertificate:
    """With probability 1 - delta, no more of this batch is wrong.

    Attributes:
        n_accepted: items that were accepted without review.
        n_audited: how many of them were drawn for the audit, without putting back.
        errors: how many of those were wrong; they are put right now.
        delta: the probability of being wrong.
        most_errors: how many of the accepted were wrong, at most, before the audit.
        residual_errors: how many still are, at most.
        residual_error_bound: as a share of the accepted.
    """

    n_accepted: int
    n_audited: int
    errors: int
    delta: float
    most_errors: int

    @property
    def residual_errors(self) -> int:
        return self.most_errors - self.errors

    @property
    def residual_error_bound(self) -> float:
        return self.residual_errors / self.n_accepted if self.n_accepted else 0.0


def batch_certificate(n_accepted: int, n_audited: int, errors: int, *, delta: float) -> BatchCertificate:
    """The most errors that the audit's draw leaves possible, by inverting the hypergeometric distribution.

    Exact for the batch itself, whatever the items are, as the audited ones are drawn at random; it is sharper than a
    bound on a rate where a good part of the batch is audited.

    Raises:
        InvalidRequestError: the counts or delta are impossible.
    """
    from scipy.stats import hypergeom

    require_probability("delta", delta)
    if not 0 <= errors <= n_audited <= n_accepted:
        raise InvalidRequestError(
            "invalid_argument",
            f"wanted 0 ≤ errors ≤ audited ≤ accepted; got {errors} of {n_audited} audited, {n_accepted} accepted",
        )
    # So few errors in the audit grow less likely as the batch holds more: the most that are still more likely than
    # delta.
    low, high = errors, n_accepted - n_audited + errors
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeom.cdf(errors, n_accepted, middle, n_audited) > delta:
            low = middle
        else:
            high = middle - 1
    return BatchCertificate(n_accepted=n_accepted, n_audited=n_audited, errors=errors, delta=delta, most_errors=low)
