"""Decides which of a detector's scored boxes become annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from models import signals
from models.card import ModelCard
from models.errors import ItemError, ModelError
from models.geometry import area, clip_boxes, iou
from models.types import Annotation, Box, Prediction

Overlap = Annotated[float, Field(gt=0.0, le=1.0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Everything that a detector proposes for one image.

    Attributes:
        boxes_xyxy: (n, 4) float, pixels of the original image, not clipped.
        class_scores: (n, K) float in [0, 1], one column for each of the model's labels.
    """

    boxes_xyxy: np.ndarray
    class_scores: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """How candidates become annotations: names of the K classes (None is dropped), lowest score, optional NMS."""

    labels: tuple[str | None, ...]
    min_score: float
    nms_iou: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that may be emitted, each once."""
        return tuple(dict.fromkeys(label for label in self.labels if label))

    @classmethod
    def of(cls, card: ModelCard, model_labels: Sequence[str], *, nms_iou: float | None) -> Emission:
        """Reads the card's labels and ``min_score``.

        Raises:
            ModelError: the card drops every label.
        """
        labels = tuple(card.label_for(label) for label in model_labels)
        if not any(labels):
            raise ModelError("bad_card", f"model '{card.name}' drops all of its labels {list(model_labels)[:5]}…")
        return cls(labels=labels, min_score=card.min_score, nms_iou=nms_iou)


def prediction(candidates: Candidates, emission: Emission, *, size_hw: tuple[int, int]) -> Prediction:
    """The annotations of one image, best first, with ids "0", "1", …, and its signals.

    Classes that the card drops and boxes that NMS removes count for nothing, not even as a possible miss.

    Raises:
        ItemError: a score or a coordinate is not finite.
    """
    if not (np.isfinite(candidates.boxes_xyxy).all() and np.isfinite(candidates.class_scores).all()):
        raise ItemError("model_failed", "the detector gave numbers that are not finite for this image")
    columns = [index for index, label in enumerate(emission.labels) if label]
    names = np.array([emission.labels[index] for index in columns])
    boxes = clip_boxes(candidates.boxes_xyxy, size_hw=size_hw)
    class_scores = candidates.class_scores[:, columns]
    order = np.argsort(-class_scores.max(axis=1, initial=0.0), kind="stable")
    order = order[area(boxes[order]) > 0.0]
    labels = names[class_scores[order].argmax(axis=1)]
    if emission.nms_iou is not None:
        kept = _survivors(boxes[order], labels, max_iou=emission.nms_iou)
        order, labels = order[kept], labels[kept]
    boxes, class_scores = boxes[order], class_scores[order]
    is_emitted = class_scores.max(axis=1, initial=0.0) >= emission.min_score
    count = np.count_nonzero(is_emitted)  # sorted, so these come first
    rows = zip(boxes[:count].tolist(), labels[:count].tolist(), class_scores[:count].max(axis=1).tolist(), strict=True)
    return Prediction(
        annotations=tuple(
            Annotation(id=str(index), label=label, geometry=Box(xyxy=tuple(xyxy)), score=score)
            for index, (xyxy, label, score) in enumerate(rows)
        ),
        signals=signals.detection(class_scores, is_emitted=is_emitted),
    )


def _survivors(boxes_xyxy: np.ndarray, labels: np.ndarray, *, max_iou: float) -> np.ndarray:
    """Greedy class-wise non-maximum suppression of boxes sorted best first: (n,) bool."""
    rivals = (iou(boxes_xyxy, boxes_xyxy) > max_iou) & (labels[:, None] == labels[None, :])
    kept = np.ones(len(labels), dtype=bool)
    for index in range(len(labels)):
        if kept[index]:
            kept[index + 1 :] &= ~rivals[index, index + 1 :]
    return kept
