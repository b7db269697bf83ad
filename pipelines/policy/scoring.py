"""Scores past pre-labels as if they came now."""

from __future__ import annotations

from dataclasses import replace

from models.types import Task
from pipelines.calibration import Calibration, raw_score
from pipelines.types import PreLabel


def scored_again(pre_label: PreLabel, calibration: Calibration | None) -> PreLabel:
    """A pre-label with the confidences that a calibration gives it now, or without any."""
    bare = tuple(replace(annotation, confidence=None) for annotation in pre_label.prediction.annotations)
    prediction, confidence = replace(pre_label.prediction, annotations=bare), None
    if calibration is not None:
        prediction, confidence = calibration.confident(prediction)
    return replace(
        pre_label,
        prediction=prediction,
        confidence=confidence,
        calibrated=confidence is not None,
        provenance=replace(pre_label.provenance, calibration_id=calibration.id if calibration else None),
    )


def score(task: Task, pre_label: PreLabel) -> float:
    """How safe a pre-label is, in [0, 1]: its confidence, or what the models' own scores say where it has none."""
    if pre_label.confidence is not None:
        return pre_label.confidence
    return raw_score(task, pre_label.prediction.signals, pre_label.prediction.annotations)
