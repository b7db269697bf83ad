"""Holds the judged predictions that a calibration is measured on, before it and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedLabels:
    """Annotations and whether each was right.

    Attributes:
        labels, scores, is_right: (n,) of each annotation.
        ious: (n,) with what it was matched to, 0 where there is nothing; None where the task has no boxes or masks.
        weights: (n,) 1 / propensity; None where each was as likely to be judged.
    """

    labels: Sequence[str]
    scores: np.ndarray
    is_right: np.ndarray
    ious: np.ndarray | None = None
    weights: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedItems:
    """Items, the raw score and the confidence of each, and whether nothing of its prediction needed a correction."""

    raw_scores: np.ndarray
    confidences: np.ndarray
    is_acceptable: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One event before and after: what the page draws and measures.

    ``labels`` and ``ious`` are there for what has boxes or masks, (n,) as all arrays are.
    """

    before: np.ndarray
    after: np.ndarray
    is_right: np.ndarray
    weights: np.ndarray | None
    labels: Sequence[str] | None = None
    ious: np.ndarray | None = None

    @property
    def n(self) -> int:
        return len(self.before)

    def take(self, chosen: np.ndarray) -> Compared:
        """Those at ``chosen``, indices."""
        return replace(
            self,
            before=self.before[chosen],
            after=self.after[chosen],
            is_right=self.is_right[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            labels=None if self.labels is None else [self.labels[i] for i in chosen.tolist()],
            ious=None if self.ious is None else self.ious[chosen],
        )
