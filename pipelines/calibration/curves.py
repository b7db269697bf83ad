"""Maps scores to probabilities by a fitted curve that never falls; nothing but numpy and math is imported."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Discriminator, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]

# Models give 0 and 1 for "very sure"; beyond this their logit says nothing more.
_CLIP = 1e-6
# exp() stays finite and 1 + exp() stays above 1, so that no answer is exactly 0 or 1.
_STEEPEST = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Platt:
    """p = σ(slope · logit(s) + intercept), s clipped to [10⁻⁶, 1 − 10⁻⁶]; Platt 1999, over the score's logit."""

    slope: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    intercept: Number
    kind: Literal["platt"] = "platt"

    def probability(self, score: float) -> float:
        """One score; a score that is no number counts as 0."""
        s = score if score > _CLIP else _CLIP
        s = min(s, 1.0 - _CLIP)
        z = self.slope * math.log(s / (1.0 - s)) + self.intercept
        return sigmoid(z)

    def apply(self, scores: np.ndarray) -> np.ndarray:
        z = self.slope * logits(scores) + self.intercept
        return 1.0 / (1.0 + np.exp(-np.clip(z, -_STEEPEST, _STEEPEST)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Isotonic:
    """Straight lines between knots, flat beyond the first and the last; x rises, y never falls.

    Zadrozny & Elkan 2002 (the knots are the corners of the pool-adjacent-violators solution).
    """

    x: tuple[Share, ...]
    y: tuple[Share, ...]
    kind: Literal["isotonic"] = "isotonic"

    def __post_init__(self) -> None:
        steps_x, steps_y = np.diff(self.x), np.diff(self.y)
        if not self.x or len(self.x) != len(self.y) or (steps_x <= 0.0).any() or (steps_y < 0.0).any():
            raise ValueError("got knots that are not a curve; wanted as many y as x, x rising, y never falling")

    def probability(self, score: float) -> float:
        """One score; a score that is no number counts as 0."""
        place = bisect_right(self.x, score if score > 0.0 else 0.0)
        if place == 0:
            return self.y[0]
        if place == len(self.x):
            return self.y[-1]
        x0, y0, y1 = self.x[place - 1], self.y[place - 1], self.y[place]
        share = (score - x0) / (self.x[place] - x0)
        return min(y0 + (y1 - y0) * share, y1)  # rounding may not lift it over the next knot

    def apply(self, scores: np.ndarray) -> np.ndarray:
        x, y = np.array(self.x), np.array(self.y)
        s = np.where(scores > 0.0, scores, 0.0).clip(x[0], x[-1])
        after = np.clip(np.searchsorted(x, s, side="right"), 1, max(len(x) - 1, 1))
        if len(x) == 1:
            return np.full(s.shape, y[0])
        x0, x1, y0, y1 = x[after - 1], x[after], y[after - 1], y[after]
        return np.minimum(y0 + (y1 - y0) * ((s - x0) / (x1 - x0)), y1)


Curve = Annotated[Platt | Isotonic, Discriminator("kind")]


def logits(scores: np.ndarray) -> np.ndarray:
    """log(s / (1 − s)) of scores clipped to [10⁻⁶, 1 − 10⁻⁶]; no number counts as 0."""
    s = np.minimum(np.where(scores > _CLIP, scores, _CLIP), 1.0 - _CLIP)
    return np.log(s / (1.0 - s))


def sigmoid(z: float) -> float:
    """1 / (1 + e^−z), never exactly 0 or 1."""
    return 1.0 / (1.0 + math.exp(-min(max(z, -_STEEPEST), _STEEPEST)))
