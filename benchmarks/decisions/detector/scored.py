"""Holds labelled scenes with what no recalibration changes: their losses, raw scores and matched boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.decisions.detector.labelling import TASK, LabelledScene
from pipelines.calibration.report import JudgedLabels
from pipelines.corrections.acceptable import ACCEPTABLE
from pipelines.corrections.matching import matching_at
from pipelines.policy.scoring import score


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """n scenes.

    Attributes:
        losses: (n,) 0.0 where nothing of the pre-label needs a correction, else 1.0.
        raw: (n,) in [0, 1], what the detector's own scores say of the item (calibration.raw_score).
        parts: (n,) the part that each scene is of.
        ious: for each box of each pre-label its IoU with the object that is its own, 0 where it has none.
    """

    scenes: Sequence[LabelledScene]
    losses: np.ndarray
    raw: np.ndarray
    parts: np.ndarray
    ious: Sequence[Sequence[float]]

    @classmethod
    def of(cls, scenes: Sequence[LabelledScene]) -> Scored:
        return cls(
            scenes=scenes,
            losses=np.array([one.loss for one in scenes]),
            raw=np.array([score(TASK, one.pre_label) for one in scenes]),
            parts=np.array([one.part for one in scenes]),
            ious=[_ious(one) for one in scenes],
        )

    def boxes(self, places: np.ndarray) -> JudgedLabels:
        """The boxes of the scenes at these places; one is right where it has an object of its own with its label."""
        chosen = places.tolist()
        found = [box for place in chosen for box in self.scenes[place].pre_label.prediction.annotations]
        ious = np.array([iou for place in chosen for iou in self.ious[place]])
        return JudgedLabels(
            labels=[box.label for box in found],
            scores=np.array([box.score for box in found]),
            is_right=ious > 0.0,
            ious=ious,
        )


def _ious(scene: LabelledScene) -> list[float]:
    """By the matching that losses are counted with, greedy by overlap, at the IoU that is acceptable."""
    boxes = scene.pre_label.prediction.annotations
    ious = [0.0] * len(boxes)
    for pair in matching_at(boxes, scene.truth, iou=ACCEPTABLE[TASK].iou).pairs:
        ious[pair.predicted] = pair.iou
    return ious
