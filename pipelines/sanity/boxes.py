"""Holds the rules about boxes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from models.geometry import area, clip_boxes
from models.types import Annotation, Box
from pipelines.sanity.draft import Draft, Row
from pipelines.sanity.overlaps import alike, inside, numbered, pair_intersection, pair_iou


def without_area(draft: Draft) -> None:
    rows = draft.rows(Box)
    for row, has_area in zip(rows, _have_area(_corners(rows)), strict=True):
        if not has_area:
            draft.remove("zero_area", row.place, f"the box {_numbers(row.geometry)} has no area")


def outside(draft: Draft) -> None:
    size_hw = draft.prediction.size_hw
    if size_hw is None or min(size_hw) <= 0:
        return
    rows, boxes = real(draft.rows(Box))
    clipped = clip_boxes(boxes, size_hw=size_hw)
    is_left = area(clipped) > 0.0
    image = f"the image of {size_hw[1]} × {size_hw[0]} px"
    for index in np.flatnonzero((clipped != boxes).any(axis=1)).tolist():
        row, xyxy = rows[index], clipped[index].tolist()
        if is_left[index]:
            message = f"the box {_numbers(row.geometry)} reaches beyond {image}"
            draft.change("outside_image", row.place, message, instead=_with_box(row.annotation, xyxy))
        else:
            message = f"the box {_numbers(row.geometry)} lies outside of {image}"
            draft.remove("outside_image", row.place, message)


def slivers(draft: Draft) -> None:
    rules = draft.rules
    rows, boxes = real(draft.rows(Box))
    sides = np.sort(boxes[:, 2:] - boxes[:, :2], axis=1)  # (n, 2), the shorter first
    is_thin, is_long = sides[:, 0] < rules.sliver_px, sides[:, 1] > rules.sliver_aspect * sides[:, 0]
    for index in np.flatnonzero(is_thin | is_long).tolist():
        short, long = sides[index].tolist()
        limit = (
            f"one side is shorter than {rules.sliver_px:g} px"
            if is_thin[index]
            else f"one side is more than {rules.sliver_aspect:g} times as long as the other"
        )
        draft.remove("sliver", rows[index].place, f"the box is a sliver of {long:.4g} × {short:.4g} px: {limit}")


def tiny(draft: Draft) -> None:
    size_hw = draft.prediction.size_hw
    if size_hw is None or min(size_hw) <= 0:
        return
    rows, boxes = real(draft.rows(Box))
    shares = area(boxes) / (float(size_hw[0]) * size_hw[1])
    for index in np.flatnonzero(shares < draft.rules.tiny_share).tolist():
        message = f"the box covers {shares[index]:.2%} of the image, less than {draft.rules.tiny_share:.2%}"
        draft.remove("tiny_box", rows[index].place, message)


def duplicates(draft: Draft) -> None:
    rows, boxes = real(draft.rivals(Box))
    if len(rows) < 2:
        return
    labels = numbered([row.annotation.label for row in rows])
    again, first = _by_place(alike(boxes, labels, min_iou=draft.rules.duplicate_iou), rows)
    overlaps = pair_iou(boxes[again], boxes[first])
    for own, better, overlap in zip(again, first, overlaps, strict=True):
        message = f"the box marks what #{rows[better].annotation.id} marks with the same label; IoU {overlap:.2f}"
        draft.remove("duplicate", rows[own].place, message, is_covered=True)


def nested(draft: Draft) -> None:
    rules = draft.rules
    rows, boxes = real(draft.rivals(Box))
    if len(rows) < 2:
        return
    labels = numbered([row.annotation.label for row in rows])
    found = inside(boxes, labels, min_share=rules.nested_share, max_iou=rules.duplicate_iou)
    inner, outer = _by_place(found, rows)
    shares = pair_intersection(boxes[inner], boxes[outer]) / area(boxes[inner])
    for own, larger, share in zip(inner, outer, shares, strict=True):
        message = f"{share:.0%} of the box lies in #{rows[larger].annotation.id}, a larger one with the same label"
        draft.remove("nested_box", rows[own].place, message, is_covered=True)


def _by_place(found: Mapping[int, int], rows: Sequence[Row[Box]]) -> tuple[list[int], list[int]]:
    """Losers in the order of their places, and the winner of each."""
    losers = sorted(found, key=lambda index: rows[index].place)
    return losers, [found[loser] for loser in losers]


def real(rows: Sequence[Row[Box]]) -> tuple[Sequence[Row[Box]], np.ndarray]:
    """Those whose boxes have an area, and the boxes, (n, 4) float64 xyxy; the others are up to the rule about that."""
    boxes = _corners(rows)
    has_area = _have_area(boxes)
    if has_area.all():
        return rows, boxes
    return [row for row, is_real in zip(rows, has_area, strict=True) if is_real], boxes[has_area]


def _corners(rows: Sequence[Row[Box]]) -> np.ndarray:
    """(n, 4) float64 xyxy."""
    numbers = itertools.chain.from_iterable(row.geometry.xyxy for row in rows)
    return np.fromiter(numbers, dtype=np.float64, count=4 * len(rows)).reshape(-1, 4)


def _have_area(boxes_xyxy: np.ndarray) -> np.ndarray:
    return np.isfinite(boxes_xyxy).all(axis=1) & (area(boxes_xyxy) > 0.0)


def _with_box(annotation: Annotation, xyxy: Sequence[float]) -> Annotation:
    x1, y1, x2, y2 = xyxy
    return replace(annotation, geometry=Box(xyxy=(x1, y1, x2, y2)))


def _numbers(box: Box) -> str:
    return f"({', '.join(f'{value:.6g}' for value in box.xyxy)})"
