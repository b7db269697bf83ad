"""Combines named features into one probability by a logistic regression with bounds on what it believes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipelines.calibration.curves import Number, sigmoid
from pipelines.calibration.features import MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What one feature adds: weight · (value − mean) / scale, the value held within what the fit has seen."""

    weight: Number
    mean: Number
    scale: Number
    low: Number
    high: Number

    def of(self, value: float) -> float:
        return self.weight * (min(max(value, self.low), self.high) - self.mean) / self.scale

    @property
    def worst(self) -> float:
        """The least that a value within the bounds adds."""
        return min(self.of(self.low), self.of(self.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Combiner:
    """p = σ(intercept + Σ terms), in (0, 1).

    A feature that is missing adds what its ``missing_`` term has learned; where the fit has never seen it missing, it
    adds the worst that it could. A feature that the fit did not have adds nothing.
    """

    intercept: Number
    terms: dict[str, Term]

    def probability(self, features: Mapping[str, float]) -> float:
        """Exactly the same in whatever order the terms are kept: a threshold may lie on this very number."""
        return sigmoid(math.fsum([self.intercept, *self._added(features)]))

    def _added(self, features: Mapping[str, float]) -> Iterator[float]:
        for name, term in self.terms.items():
            if name in features:
                yield term.of(features[name])
            elif name.startswith(MISSING):
                yield term.of(0.0)
            elif MISSING + name not in self.terms:
                yield term.worst
