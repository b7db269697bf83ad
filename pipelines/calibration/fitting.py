"""Fits a calibration to predictions that humans have judged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import numpy as np

from models.types import Prediction, Task
from pipelines.calibration.by_label import LabelCalibration, fit_labels
from pipelines.calibration.calibration import Calibration
from pipelines.calibration.errors import TooFewLabelsError
from pipelines.calibration.features import features
from pipelines.calibration.item_score import ItemScore, fit_item
from pipelines.calibration.raw_score import raw_score


def fit_calibration(
    task: Task,
    predictions: Sequence[Prediction],
    *,
    right: Sequence[Sequence[bool]],
    acceptable: Sequence[bool],
    chain: tuple[str, ...],
    config_digest: str,
    now: datetime,
    rng: np.random.Generator,
    weights: Sequence[float] | None = None,
) -> Calibration:
    """The calibration of these answers; what there are too few for is left out of it.

    Args:
        predictions: of a random sample of items, all by the models of ``chain``.
        right: for each annotation of each prediction whether it was right.
        acceptable: for each prediction whether nothing of it needed a correction.
        weights: for each prediction 1 / (probability that it was drawn); None where that was the same for all.

    Raises:
        TooFewLabelsError: for the items' confidence; the message says how many are missing.
    """
    bare = [_bare(prediction) for prediction in predictions]
    shares = np.ones(len(bare)) if weights is None else np.asarray(weights, dtype=np.float64)
    labels = _labels(bare, right, shares, now=now, rng=rng)
    return Calibration(
        task=task,
        chain=chain,
        config_digest=config_digest,
        labels=labels,
        item=_item(task, bare if labels is None else _confident(bare, labels), acceptable, shares, now=now, rng=rng),
        created_at=now,
    )


def _labels(
    predictions: Sequence[Prediction],
    right: Sequence[Sequence[bool]],
    shares: np.ndarray,
    *,
    now: datetime,
    rng: np.random.Generator,
) -> LabelCalibration | None:
    annotations = [annotation for prediction in predictions for annotation in prediction.annotations]
    of_each = [len(prediction.annotations) for prediction in predictions]
    with suppress(TooFewLabelsError):
        return fit_labels(
            [annotation.label for annotation in annotations],
            [annotation.score for annotation in annotations],
            is_right=[flag for flags in right for flag in flags],
            weights=np.repeat(shares, of_each),
            fitted_at=now,
            rng=rng,
        )
    return None


def _item(
    task: Task,
    predictions: Sequence[Prediction],
    acceptable: Sequence[bool],
    shares: np.ndarray,
    *,
    now: datetime,
    rng: np.random.Generator,
) -> ItemScore:
    return fit_item(
        [features(task, prediction.signals, prediction.annotations) for prediction in predictions],
        acceptable,
        raw_scores=[raw_score(task, prediction.signals, prediction.annotations) for prediction in predictions],
        weights=shares,
        fitted_at=now,
        rng=rng,
    )


def _bare(prediction: Prediction) -> Prediction:
    """The prediction without the confidences of an earlier calibration."""
    return replace(prediction, annotations=tuple(replace(a, confidence=None) for a in prediction.annotations))


def _confident(predictions: Sequence[Prediction], labels: LabelCalibration) -> list[Prediction]:
    return [replace(p, annotations=labels.confident(p.annotations)) for p in predictions]
