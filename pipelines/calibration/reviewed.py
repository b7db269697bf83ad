"""Holds scored predictions that humans have judged: what every calibration is fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.calibration.errors import TooFewLabelsError
from pipelines.errors import InvalidRequestError

MIN_N = 50
MIN_EACH = 5
_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """Scores and whether each prediction was right.

    Attributes:
        scores: (n,) float64 in [0, 1].
        is_right: (n,) bool.
        weights: (n,) float64 > 0 whose sum is ``n_effective``.
    """

    scores: np.ndarray
    is_right: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(
        cls,
        scores: Sequence[float] | np.ndarray,
        is_right: Sequence[bool] | np.ndarray,
        *,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> Reviewed:
        """Checked arrays.

        Args:
            weights: 1 / (probability that a human saw it), which repairs a selection that depended on the score
                (Horvitz & Thompson 1952); None where every prediction was as likely to be seen.

        Raises:
            InvalidRequestError: invalid_argument, for a score outside [0, 1], a weight that is not above 0, or arrays
                of different lengths.
        """
        values = np.asarray(scores, dtype=np.float64)
        rights = np.asarray(is_right, dtype=bool)
        given = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not values.shape == rights.shape == given.shape == (len(values),):
            raise InvalidRequestError(
                "invalid_argument",
                f"got {values.shape} scores, {rights.shape} answers and {given.shape} weights; "
                "wanted one of each for every prediction",
            )
        if not np.all((values >= 0.0) & (values <= 1.0)):
            raise InvalidRequestError("invalid_argument", "got a score outside [0, 1]; leave such predictions out")
        if not np.all((given > 0.0) & np.isfinite(given)):
            raise InvalidRequestError(
                "invalid_argument", "got a weight that is not a number above 0; wanted 1 / propensity"
            )
        return cls(scores=values, is_right=rights, weights=_scaled(given))

    @property
    def n(self) -> int:
        return len(self.scores)

    @property
    def right(self) -> int:
        return int(self.is_right.sum())

    @property
    def n_effective(self) -> float:
        """How many equally weighted answers tell as much: (Σw)² / Σw². Kish 1965."""
        return round(float(self.weights.sum()), 6)  # equal weights that are no binary fractions give n, too

    def take(self, chosen: np.ndarray) -> Reviewed:
        """Those at ``chosen``, a bool mask or indices."""
        return Reviewed(
            scores=self.scores[chosen], is_right=self.is_right[chosen], weights=_scaled(self.weights[chosen])
        )

    def require(self, *, min_n: int, min_each: int) -> None:
        """Refuse to go on with less.

        Raises:
            TooFewLabelsError: fewer than ``min_n`` answers, or fewer than ``min_each`` of right or of wrong ones.
        """
        wrong = self.n - self.right
        missing = max(min_n - self.n, max(min_each - self.right, 0) + max(min_each - wrong, 0))
        if missing > 0:
            raise TooFewLabelsError(
                message=f"got {self.n} answers, {self.right} right and {wrong} wrong; wanted {min_n} with at least "
                f"{min_each} of each kind; {missing} more are missing, and reviews of random items bring them",
                missing=missing,
            )

    def folds(self, rng: np.random.Generator) -> np.ndarray:
        """(n,) int: which of five folds each belongs to; right and wrong ones are dealt out evenly."""
        fold = np.empty(self.n, dtype=np.int64)
        for kind in (self.is_right, ~self.is_right):
            fold[rng.permutation(np.flatnonzero(kind))] = np.arange(kind.sum()) % _FOLDS
        return fold


def _scaled(weights: np.ndarray) -> np.ndarray:
    """Weights whose sum is the effective number of answers, so that a prior of one answer weighs as much as one."""
    return weights * (weights.sum() / np.square(weights).sum()) if weights.size else weights
