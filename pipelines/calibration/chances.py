"""Says how likely each label of a prediction is right: its confidence where it is calibrated, its score otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.types import Annotation, Task

# Below it a probability is as good as none; keeps logarithms finite.
_SMALLEST = 1e-6
_SOFTMIN_TEMPERATURE = 0.1


def chances(task: Task, annotations: Sequence[Annotation]) -> list[float]:
    """P(right) of each annotation that can be wrong by itself, each in [0, 1]; higher is safer.

    In speech these are the words: a stretch of speech that was cut into words is as right as they are.
    """
    judged = leaves(annotations) if task == "speech" else annotations
    return [a.score if a.confidence is None else a.confidence for a in judged]


def leaves(annotations: Sequence[Annotation]) -> list[Annotation]:
    """The annotations that no other one was made from."""
    parents = {annotation.parent_id for annotation in annotations}
    return [annotation for annotation in annotations if annotation.id not in parents]


def softmin(values: Sequence[float]) -> float:
    """Σ vᵢ wᵢ with w the softmax of −v/T, T = 0.1: the lowest value, softened by those that are nearly as low.

    In [0, 1] for values in [0, 1]; higher is safer. cleanlab 2.9, internal/object_detection_utils.py, softmin1d.
    """
    lowest = min(values)
    weights = [math.exp((lowest - value) / _SOFTMIN_TEMPERATURE) for value in values]
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def logit(probability: float) -> float:
    """log(p / (1 − p)) with p clipped to [10⁻⁶, 1 − 10⁻⁶]: in [−13.8, 13.8]."""
    p = min(max(probability, _SMALLEST), 1.0 - _SMALLEST)
    return math.log(p / (1.0 - p))


def log(probability: float) -> float:
    """log p with p clipped to [10⁻⁶, 1]: in [−13.8, 0]."""
    return math.log(min(max(probability, _SMALLEST), 1.0))
