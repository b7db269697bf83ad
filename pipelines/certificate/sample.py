"""Counts what a threshold accepts of a calibration sample, and how much of that is wrong."""

from __future__ import annotations

import numpy as np

from pipelines.errors import InvalidRequestError


class Sample:
    """Labelled items drawn at random: (n,) scores and (n,) losses in [0, 1], of which single ones may be graded.

    Where groups are given (frames of one video, say), the independent unit is the group: its loss is the mean over its
    items of loss · accepted.
    """

    def __init__(self, scores: np.ndarray, losses: np.ndarray, groups: np.ndarray | None = None) -> None:
        self.scores = finite_scores("scores", scores)
        self.losses = np.asarray(losses, dtype=float)
        if self.losses.shape != self.scores.shape:
            raise InvalidRequestError(
                "invalid_argument", f"one loss per score; got {self.losses.shape} losses, {self.scores.shape} scores"
            )
        if not np.all((self.losses >= 0.0) & (self.losses <= 1.0)):
            raise InvalidRequestError("invalid_argument", "losses must be in [0, 1]; at least one is not")
        order = np.argsort(self.scores)
        self._ascending = self.scores[order]
        self._group_of = None if groups is None else _numbered(groups, self.scores.shape)
        self._sizes = np.ones(0) if self._group_of is None else np.bincount(self._group_of)
        self.is_grouped = bool(np.any(self._sizes > 1))
        self.is_binary = not self.is_grouped and bool(np.all((self.losses == 0.0) | (self.losses == 1.0)))
        self.n = len(self._sizes) if self.is_grouped else len(self.scores)
        self._order = order

    def accepted(self, thresholds: np.ndarray) -> np.ndarray:
        """How many items have at least this score: (k,) thresholds give (k,) integers."""
        return len(self.scores) - np.searchsorted(self._ascending, thresholds, side="left")

    def accepted_units(self, threshold: float) -> int:
        """How many independent units, items or groups, the threshold accepts anything of."""
        is_accepted = self.scores >= threshold
        if self.is_grouped and self._group_of is not None:
            return len(np.unique(self._group_of[is_accepted]))
        return int(is_accepted.sum())

    def total_loss(self, thresholds: np.ndarray) -> np.ndarray:
        """The loss of what is accepted, summed over the independent units: (k,) thresholds give (k,) floats."""
        return self._summed(self.losses, thresholds)

    def total_excess(self, thresholds: np.ndarray, alpha: float) -> np.ndarray:
        """The sum over the units of alpha + mean((loss - alpha) · accepted): its mean is at most alpha where the
        accepted's error is, and each unit's value is in [0, 1].
        """
        return np.clip(alpha * self.n + self._summed(self.losses - alpha, thresholds), 0.0, float(self.n))

    def _summed(self, values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        weighted = values / self._sizes[self._group_of] if self.is_grouped else values
        from_the_top = np.concatenate([[0.0], np.cumsum(weighted[self._order][::-1])])
        return from_the_top[self.accepted(thresholds)]


def finite_scores(name: str, scores: np.ndarray) -> np.ndarray:
    """Scores as (n,) floats.

    Raises:
        InvalidRequestError: they are not one-dimensional, or one is not finite.
    """
    array = np.asarray(scores, dtype=float)
    if array.ndim != 1 or not np.all(np.isfinite(array)):
        raise InvalidRequestError(
            "invalid_argument", f"{name} must be a list of finite numbers; leave out items without a score"
        )
    return array


def _numbered(groups: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Groups as numbers from 0."""
    array = np.asarray(groups)
    if array.shape != shape:
        raise InvalidRequestError("invalid_argument", f"one group per score; got {array.shape} groups, {shape} scores")
    return np.unique(array, return_inverse=True)[1]
