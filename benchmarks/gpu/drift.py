"""Compares the scores of two ways to compute the same items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.types import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far scores lie apart: largest and 99th percentile of the differences.

    ``what`` was changed: a precision, beside fp32, or "jpegs on the device", beside pixels of models/media.
    """

    what: str
    scores: int
    largest: float
    p99: float


def drift(what: str, scores: np.ndarray, wanted: np.ndarray) -> Drift:
    gaps = np.abs(scores - wanted)
    return Drift(what=what, scores=gaps.size, largest=float(gaps.max()), p99=float(np.quantile(gaps, 0.99)))


def scores_of(task: Task, raw: Any) -> np.ndarray:
    """Scores that can be compared one by one between precisions, whatever order a network gives its answers.

    A detector's queries change places when their scores hardly differ, so its best scores are compared in order of
    size; masks, tokens and windows keep their places.
    """
    match task:
        case "detection":
            return np.concatenate([np.sort(scores.max(axis=1))[::-1] for scores in raw.class_scores])
        case "segmentation":
            return np.concatenate([np.asarray(masks.predicted_ious) for masks in raw]).clip(0.0, 1.0)
        case "ner":
            return np.concatenate([probabilities.max(axis=1) for probabilities in raw.probabilities])
        case "speech":
            return np.array([transcript.no_speech for transcript in raw.transcripts])
