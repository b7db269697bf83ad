"""Keeps a calibrator for each label that has enough answers, and one of all answers for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np

from models.types import Annotation
from pipelines.calibration.calibrator import ISOTONIC_FROM, Calibrator, Method, fit
from pipelines.calibration.reviewed import MIN_EACH, MIN_N, Reviewed
from pipelines.errors import InvalidRequestError

Source = Literal["own", "pooled"]

MIN_N_OF_LABEL = 200
MIN_EACH_OF_LABEL = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """How a label's probabilities come about; ``label`` is None for the answers of all labels together."""

    label: str | None
    source: Source
    method: Method
    n: int
    positives: int
    fitted_at: datetime

    @property
    def sentence(self) -> str:
        whose = "all labels" if self.source == "pooled" else f"'{self.label}'"
        return f"{self.method}, fitted on {self.n} answers of {whose}, {self.fitted_at:%Y-%m-%d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCalibration:
    """The calibrators of a task's labels; ``own`` those of single labels, by name."""

    pooled: Calibrator
    own: dict[str, Calibrator]

    def calibrator(self, label: str) -> Calibrator:
        """The label's own one, or the pooled one."""
        return self.own.get(label, self.pooled)

    def probability(self, label: str, score: float) -> float:
        """P(an annotation with this label and score is right), in (0, 1)."""
        return self.own.get(label, self.pooled).curve.probability(score)

    def apply(self, labels: Sequence[str], scores: Sequence[float] | np.ndarray) -> np.ndarray:
        """``probability`` of many, (n,) float64."""
        of_label, values = np.asarray(labels, dtype=object), np.asarray(scores, dtype=np.float64)
        probabilities = np.empty(len(values))
        for label in set(labels):
            has_it = of_label == label
            probabilities[has_it] = self.calibrator(label).apply(values[has_it])
        return probabilities

    def confident(self, annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
        """The annotations with their confidence."""
        return tuple(replace(a, confidence=self.probability(a.label, a.score)) for a in annotations)

    def describe(self, label: str | None = None) -> Described:
        """Which calibrator a label has, for display; without a label the pooled one."""
        source: Source = "own" if label in self.own else "pooled"
        calibrator = self.pooled if label is None else self.calibrator(label)
        return Described(
            label=label,
            source=source,
            method=calibrator.method,
            n=calibrator.n,
            positives=calibrator.positives,
            fitted_at=calibrator.fitted_at,
        )


def fit_labels(
    labels: Sequence[str],
    scores: Sequence[float] | np.ndarray,
    *,
    is_right: Sequence[bool] | np.ndarray,
    fitted_at: datetime,
    rng: np.random.Generator,
    weights: Sequence[float] | np.ndarray | None = None,
    min_n: int = MIN_N,
    min_each: int = MIN_EACH,
    min_n_of_label: int = MIN_N_OF_LABEL,
    min_each_of_label: int = MIN_EACH_OF_LABEL,
    isotonic_from: float = ISOTONIC_FROM,
) -> LabelCalibration:
    """A calibrator of all answers, and one of each label with ``min_n_of_label`` effective answers or more.

    Args:
        labels: (n,) the label of each judged annotation; the other arrays as for ``fit``.
        min_each_of_label: the fewest right and wrong answers that a label of its own must have.

    Raises:
        TooFewLabelsError: all answers together are too few.
        InvalidRequestError: invalid_argument, for values that ``Reviewed.of`` refuses.
    """
    reviewed = Reviewed.of(scores, is_right, weights=weights)
    if len(labels) != reviewed.n:
        raise InvalidRequestError(
            "invalid_argument", f"got {len(labels)} labels for {reviewed.n} scores; wanted one for each"
        )

    def fitted(answers: Reviewed, fewest: int, fewest_each: int) -> Calibrator:
        return fit(
            answers.scores,
            answers.is_right,
            weights=answers.weights,
            fitted_at=fitted_at,
            rng=rng,
            min_n=fewest,
            min_each=fewest_each,
            isotonic_from=isotonic_from,
        )

    pooled = fitted(reviewed, min_n, min_each)
    of_label = np.asarray(labels, dtype=object)
    answers_of = {label: reviewed.take(of_label == label) for label in sorted(set(labels))}
    return LabelCalibration(
        pooled=pooled,
        own={
            label: fitted(answers, 0, min_each_of_label)
            for label, answers in answers_of.items()
            if _is_enough(answers, min_n_of_label, min_each_of_label)
        },
    )


def _is_enough(answers: Reviewed, min_n: int, min_each: int) -> bool:
    return answers.n_effective >= min_n and min(answers.right, answers.n - answers.right) >= min_each
