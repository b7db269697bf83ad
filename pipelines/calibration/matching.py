"""Matches predicted boxes with true ones, to say which predictions were right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.geometry import iou


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """For each predicted box, in the order given: whether it is right, and its IoU with its true box.

    Attributes:
        is_right: (n,) bool.
        ious: (n,) in [0, 1]; 0 where it was not matched.
        missed: how many true boxes no prediction was matched with.
    """

    is_right: np.ndarray
    ious: np.ndarray
    missed: int


def match(
    boxes_xyxy: np.ndarray,
    true_boxes_xyxy: np.ndarray,
    *,
    labels: Sequence[str],
    true_labels: Sequence[str],
    scores: Sequence[float] | np.ndarray,
    min_iou: float = 0.5,
) -> Matches:
    """Greedy one-to-one matching within one image, as Pascal VOC and COCO do it.

    By falling score, each prediction takes the true box of its own label with the highest IoU among those that are
    still free, if that is ``min_iou`` or more. Everingham et al. 2010; COCO, cocoeval.py, evaluateImg.

    Args:
        boxes_xyxy, true_boxes_xyxy: (n, 4) and (m, 4), pixels; labels and scores in the same order.
    """
    is_right, ious = np.zeros(len(boxes_xyxy), dtype=bool), np.zeros(len(boxes_xyxy))
    if not len(boxes_xyxy) or not len(true_boxes_xyxy):
        return Matches(is_right=is_right, ious=ious, missed=len(true_boxes_xyxy))
    is_same = np.asarray(labels, dtype=object)[:, None] == np.asarray(true_labels, dtype=object)[None, :]
    overlap = np.where(is_same, iou(boxes_xyxy, true_boxes_xyxy), -1.0)  # (n, m)
    for place in np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable"):
        best = int(overlap[place].argmax())
        if overlap[place, best] >= min_iou:
            is_right[place], ious[place] = True, overlap[place, best]
            overlap[:, best] = -1.0
    return Matches(is_right=is_right, ious=ious, missed=len(true_boxes_xyxy) - int(is_right.sum()))
