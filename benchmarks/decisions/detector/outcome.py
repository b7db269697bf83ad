"""Counts what a rule accepted, and how much of it was wrong, by the truth about fresh scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One rule over t recalibrations.

    Attributes:
        errors: (t,) the share of all fresh scenes that are accepted and wrong, the error of the finished data set.
        coverages: (t,) the share of them that is accepted.
        part_errors, part_coverages: (t, p) the same within each part.
        oracles: (t,) the coverage of thresholds that know the truth and choose by the same scores.
        alpha: the error that may be.
    """

    errors: np.ndarray
    coverages: np.ndarray
    part_errors: np.ndarray
    part_coverages: np.ndarray
    oracles: np.ndarray
    alpha: float

    @property
    def kept(self) -> float:
        """The share of recalibrations whose true error is at most alpha."""
        return float(np.mean(self.errors <= self.alpha))

    @property
    def part_kept(self) -> list[float]:
        """The same within each part."""
        return np.mean(self.part_errors <= self.alpha, axis=0).tolist()

    @property
    def kept_in_every_part(self) -> float:
        """The share of recalibrations whose true error is at most alpha within every part at once."""
        return float(np.mean(np.all(self.part_errors <= self.alpha, axis=1)))


def outcome(
    accepted: np.ndarray,
    losses: np.ndarray,
    parts_of: np.ndarray,
    *,
    parts: Sequence[str],
    oracles: np.ndarray,
    alpha: float,
) -> Outcome:
    """What a rule comes to, from (t, m) of each: bool accepted, losses of 0 or 1, and the parts of the scenes."""
    wrong = accepted & (losses > 0.0)
    is_of = [parts_of == part for part in parts]
    return Outcome(
        errors=wrong.mean(axis=1),
        coverages=accepted.mean(axis=1),
        part_errors=np.stack([wrong.mean(axis=1, where=own) for own in is_of], axis=1),
        part_coverages=np.stack([accepted.mean(axis=1, where=own) for own in is_of], axis=1),
        oracles=oracles,
        alpha=alpha,
    )


def best_coverage(scores: np.ndarray, losses: np.ndarray, *, alpha: float) -> float:
    """The greatest share that a threshold can accept with at most alpha of all accepted and wrong.

    Equal scores are accepted together or not at all.
    """
    order = np.argsort(-scores, kind="stable")
    is_last_of_equals = np.append(np.diff(scores[order]) < 0.0, True)
    is_allowed = (np.cumsum(losses[order]) <= alpha * len(losses)) & is_last_of_equals
    return float(np.max(np.flatnonzero(is_allowed) + 1, initial=0) / len(losses))
