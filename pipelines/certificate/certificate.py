"""Says what a threshold promises, and on what evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Mode = Literal["dataset_error", "accepted_error"]
Method = Literal["clopper_pearson", "hoeffding_bentkus", "sequence_binomial", "sequence_hoeffding_bentkus"]
REVIEW_ALL = math.inf  # the threshold that accepts nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """With probability 1 - delta over the calibration sample, accepting score ≥ threshold keeps the error at alpha.

    The error is that of ``mode``: "dataset_error" is the share of all items that are wrong and accepted, which is the
    error of the finished data set where people put right the rest; "accepted_error" is the share of the accepted that
    are wrong.

    Attributes:
        mode: which error is promised.
        alpha: the promised error, in (0, 1).
        delta: the probability that the promise is broken, in (0, 1).
        threshold: items with at least this score are accepted; ``REVIEW_ALL`` = infinity where nothing is certified.
        n: how many independent labels stood behind it: items, or groups of items where those were given.
        n_accepted: how many of them the threshold accepts (groups: of which it accepts anything).
        errors: their total loss; the count of wrong ones where losses are 0 or 1.
        bound: what is proven of the mode's error, at most alpha. Where nothing is certified: the nearest miss, above
            alpha.
        accepted_error_bound: what follows for the share of the accepted that are wrong. In dataset mode it is bound /
            coverage with the coverage taken as known, so it may be above alpha.
        coverage: the share of the pool that the threshold accepts; without a pool, of the calibration sample.
        labels_needed: about how many more random labels would certify something if errors went on as seen; an estimate
            and no promise. None where something is certified, and where no number is in sight because the scores do
            not tell enough right from wrong.
        method: how the bound is computed.
    """

    mode: Mode
    alpha: float
    delta: float
    threshold: float
    n: int
    n_accepted: int
    errors: float
    bound: float
    accepted_error_bound: float
    coverage: float
    labels_needed: int | None
    method: Method

    @property
    def is_certified(self) -> bool:
        """Whether anything may be accepted."""
        return self.threshold != REVIEW_ALL

    def summary(self) -> str:
        """One sentence for people."""
        error = "the finished data set" if self.mode == "dataset_error" else "the accepted items"
        promise = f"at most {self.alpha:.2%} of {error} wrong with probability {1 - self.delta:.1%}"
        if self.is_certified:
            return (
                f"Accepting scores from {self.threshold:.4g} up, {self.coverage:.1%} of all items, leaves {promise} "
                f"({self.n} labels)."
            )
        more = (
            "no number of labels is in sight that would"
            if self.labels_needed is None
            else (f"about {self.labels_needed} more random labels may")
        )
        return f"Everything needs review: {self.n} labels do not show {promise}; {more} certify a threshold."
