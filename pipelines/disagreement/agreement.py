"""Compares two predictions of one item: pure functions, each in [0, 1], 1 where they say the same."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from models.geometry import iou, mask_ious
from models.signals import word_error_rate
from models.types import Box, Mask, Prediction, Task, TextSpan, TimeSpan

_SAME_BOX_IOU = 0.5


def agreement(task: Task, one: Prediction, other: Prediction) -> float:
    """How far two predictions of an item agree, in the task's own measure; 1 where neither has any annotation."""
    match task:
        case "detection":
            return box_f1(one, other)
        case "segmentation":
            return mask_agreement(one, other)
        case "ner":
            return span_f1(one, other)
        case "speech":
            return 1.0 - min(word_error_rate(transcript(one), transcript(other)), 1.0)
        case unreachable:
            assert_never(unreachable)


def box_f1(one: Prediction, other: Prediction) -> float:
    """2·pairs / all boxes, where a pair has one label and an IoU of 0.5 or more; the best pairs first."""
    boxes, labels = boxes_of(one)
    other_boxes, other_labels = boxes_of(other)
    overlap = np.where(labels[:, None] == other_labels[None, :], iou(boxes, other_boxes), 0.0)
    return _f1(len(pairs(overlap, least=_SAME_BOX_IOU)), len(boxes), len(other_boxes))


def span_f1(one: Prediction, other: Prediction) -> float:
    """2·common / all spans, where a common one has the same start, end and label."""
    spans, others = (
        {(a.geometry.start, a.geometry.end, a.label) for a in own.annotations if isinstance(a.geometry, TextSpan)}
        for own in (one, other)
    )
    return _f1(len(spans & others), len(spans), len(others))


def mask_agreement(one: Prediction, other: Prediction) -> float:
    """Sum of the IoUs of paired masks of one label, the best pairs first, over the larger number of masks."""
    found = [[a for a in own.annotations if isinstance(a.geometry, Mask)] for own in (one, other)]
    if not any(found):
        return 1.0
    masks, labels = zip(*(([a.geometry for a in own], np.array([a.label for a in own])) for own in found), strict=True)
    overlap = np.where(labels[0][:, None] == labels[1][None, :], mask_ious(masks[0], masks[1]), 0.0)
    return float(sum(overlap[pair] for pair in pairs(overlap))) / max(overlap.shape)


def transcript(prediction: Prediction) -> str:
    """What was said, in order: the texts of the segments, or of the words where there are no segments."""
    said = [
        (a.geometry.start_s, a.text)
        for a in prediction.annotations
        if isinstance(a.geometry, TimeSpan) and a.text and a.parent_id is None
    ]
    return " ".join(text for _, text in sorted(said, key=lambda row: row[0]))


def boxes_of(prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """The (n, 4) corners and (n,) labels of the annotations that are boxes."""
    found = [(a.geometry.xyxy, a.label) for a in prediction.annotations if isinstance(a.geometry, Box)]
    corners = np.array([xyxy for xyxy, _ in found], dtype=np.float64).reshape(-1, 4)
    return corners, np.array([label for _, label in found], dtype=np.str_)


def pairs(similarity: np.ndarray, *, least: float = 0.0) -> list[tuple[int, int]]:
    """Which rows and columns of an (n, m) matrix belong together, each at most once, the most similar first.

    Only those above zero and not below ``least`` do.
    """
    order = np.argsort(-similarity, axis=None, kind="stable")
    rows, columns = (places.tolist() for places in np.unravel_index(order, similarity.shape))
    found, used = list[tuple[int, int]](), (set[int](), set[int]())
    for row, column in zip(rows, columns, strict=True):
        if similarity[row, column] <= 0.0 or similarity[row, column] < least:
            break
        if row not in used[0] and column not in used[1]:
            found.append((row, column))
            used[0].add(row)
            used[1].add(column)
    return found


def _f1(common: int, count: int, other_count: int) -> float:
    return 2.0 * common / (count + other_count) if count + other_count else 1.0
