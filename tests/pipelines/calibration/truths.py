"""Draws scores and answers from populations whose P(right | score) is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

A_MOMENT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ACCEPTED_FROM = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """(n,) scores, the probability that each is right, and whether it was."""

    scores: np.ndarray
    chance: np.ndarray
    is_right: np.ndarray


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def _drawn(scores: np.ndarray, chance: np.ndarray, rng: np.random.Generator) -> Drawn:
    return Drawn(scores=scores, chance=chance, is_right=rng.random(len(scores)) < chance)


def logit_shift(n: int, rng: np.random.Generator) -> Drawn:
    """Over-sure by a slope and an offset on the logit; the scores' own ECE is 0.141."""
    z = rng.normal(1.0, 2.0, n)
    return _drawn(sigmoid(z), sigmoid(0.6 * z - 0.54), rng)


def stairs(n: int, rng: np.random.Generator) -> Drawn:
    """Flat, then a step, then flat again: no sigmoid of the logit."""
    scores = rng.random(n)
    return _drawn(scores, np.select([scores < 0.45, scores < 0.75], [0.1, 0.55], 0.95), rng)


def confidently_wrong(n: int, rng: np.random.Generator) -> Drawn:
    """Calibrated but for 4 %, which score high and are always wrong."""
    is_of_cluster = rng.random(n) < 0.04
    z = np.where(is_of_cluster, rng.normal(3.5, 0.5, n), rng.normal(1.5, 1.5, n))
    return _drawn(sigmoid(z), np.where(is_of_cluster, 0.0, sigmoid(z)), rng)


Truth = Callable[[int, np.random.Generator], Drawn]
