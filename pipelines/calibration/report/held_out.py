"""Puts what humans have said of items that were not calibrated on into the arrays that the page measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.types import Annotation, Prediction, Task
from pipelines.calibration.calibration import Calibration
from pipelines.calibration.raw_score import raw_score
from pipelines.calibration.report.judged import JudgedItems, JudgedLabels
from pipelines.corrections.acceptable import Acceptable, loss, right_ones
from pipelines.corrections.overlap import overlapping


def judged_labels(
    task: Task, said: Sequence[Prediction], answers: Sequence[Sequence[Annotation]], acceptable: Acceptable
) -> JudgedLabels:
    """Each annotation of the predictions, with whether it was right.

    In detection with the highest IoU that it has with anything of the answer, for LaECE, where it is right.
    """
    annotations = [annotation for prediction in said for annotation in prediction.annotations]
    right = [
        flag
        for prediction, answer in zip(said, answers, strict=True)
        for flag in right_ones(task, prediction.annotations, answer, acceptable)
    ]
    ious = [iou for prediction, answer in zip(said, answers, strict=True) for iou in _ious(prediction, answer)]
    return JudgedLabels(
        labels=[annotation.label for annotation in annotations],
        scores=np.array([annotation.score for annotation in annotations], dtype=np.float64),
        is_right=np.array(right, dtype=bool),
        ious=np.where(right, ious, 0.0) if task == "detection" else None,
    )


def judged_items(
    task: Task,
    said: Sequence[Prediction],
    answers: Sequence[Sequence[Annotation]],
    acceptable: Acceptable,
    calibration: Calibration,
) -> JudgedItems | None:
    """Each prediction as a whole; None where the calibration gives items no confidence.

    Args:
        said: with the confidences that their annotations have under the calibration.
    """
    if calibration.item is None:
        return None
    pairs = zip(said, answers, strict=True)
    return JudgedItems(
        raw_scores=np.array([raw_score(task, one.signals, one.annotations) for one in said], dtype=np.float64),
        confidences=np.array([calibration.confident(one)[1] or 0.0 for one in said], dtype=np.float64),
        is_acceptable=np.array([loss(task, one.annotations, answer, acceptable) == 0.0 for one, answer in pairs]),
    )


def _ious(prediction: Prediction, answer: Sequence[Annotation]) -> list[float]:
    """(n,) the highest IoU of each annotation with anything of the answer."""
    best = [0.0] * len(prediction.annotations)
    for pair in overlapping(prediction.annotations, answer, min_iou=0.0):
        best[pair.predicted] = max(best[pair.predicted], pair.iou)
    return best
