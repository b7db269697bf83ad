"""Traces the edges of a bitmap as closed rings, joins rings into one, and fills a ring."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from models.geometry import mask_box

_FAR_PX = 1e9  # no image is that large, and an edge between two points beyond it still has a slope


def trace(bitmap: np.ndarray) -> list[np.ndarray]:
    """The rings along the edges of a bitmap's true pixels: exact, with a corner wherever the edge turns.

    Pixel (row, column) is the square from (column, row) to (column + 1, row + 1). Every part has a ring, clockwise as
    seen, and so has every hole, the other way round. Pixels that touch at a corner alone are parts of their own.

    Args:
        bitmap: (H, W) bool.

    Returns:
        For each ring its corners, (n, 2) int64 x, y, without the first again at the end; ordered by their topmost
        corners, from the left.
    """
    box = mask_box(bitmap)
    if box is None:
        return []
    left, top, right, bottom = map(int, box)
    around = np.pad(bitmap[top:bottom, left:right], 1)
    top_left, top_right, bottom_left, bottom_right = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
    is_crossing = (top_left == bottom_right) & (top_right == bottom_left) & (top_left != top_right)
    is_corner = top_left ^ top_right ^ bottom_left ^ bottom_right
    corners = is_corner + np.uint8(2) * is_crossing  # (h + 1, w + 1) uint8, how many corners
    y, x = (axis.repeat(corners[corners > 0]) for axis in np.nonzero(corners))  # (n,) each, row by row
    # In a row of corners the first is joined with the second, the third with the fourth; in a column likewise. Where
    # two pixels touch, the corner of the left one comes first in the row, and that of the upper one in the column.
    place = np.arange(len(x))
    order = np.lexsort((np.where(is_crossing[y, x] & top_right[y, x], -place, place), y, x))
    below = np.empty_like(place)
    below[order[0::2]], below[order[1::2]] = order[1::2], order[0::2]
    points = np.stack([x + left, y + top], axis=1)  # (n, 2)
    is_part = bottom_right[y, x]
    return [points[ring] if is_part[ring[0]] else points[ring[::-1]] for ring in _rings(below.tolist())]


def _rings(below: list[int]) -> list[list[int]]:
    """The corners of each ring, from the first one to the right; ``below`` joins corners in a column."""
    rings, is_seen = list[list[int]](), bytearray(len(below))
    for first in range(0, len(below), 2):
        ring, corner = list[int](), first
        while not is_seen[corner]:
            is_seen[corner] = is_seen[corner ^ 1] = True
            ring += corner, corner ^ 1
            corner = below[corner ^ 1]
        if ring:
            rings.append(ring)
    return rings


def joined(rings: Sequence[np.ndarray]) -> np.ndarray:
    """One ring along all of them: lines between neighbours, there and back, join them, and enclose nothing.

    So a polygon of one ring says what holes a shape has and which parts, by the even-odd rule and by winding. The way
    is that of ultralytics' merge_multi_segment (data/converter.py).

    Args:
        rings: at least one, (n, 2) each.

    Returns:
        (m, 2), the first point not again at the end.
    """
    links = [_nearest(one, other) for one, other in pairwise(rings)]
    entries = [links[0][0] if links else 0, *(entry for _, entry in links)]
    there, back = list[np.ndarray](), list[np.ndarray]()
    for place, (ring, entry) in enumerate(zip(rings, entries, strict=True)):
        turned = np.roll(ring, -entry, axis=0)
        closed = np.concatenate([turned, turned[:1]])
        until = (links[place][0] - entry) % len(ring) if place < len(links) else len(ring)
        there.append(closed[: until + 1])
        back.append(closed[until:] if place < len(links) else closed[:0])
    whole = np.concatenate([*there, *reversed(back)])
    return whole[:-1]


def _nearest(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """A point of each ring, close to one another: each is the nearest to the other, if not the nearest pair of all."""
    here, there, before = 0, 0, np.inf
    while True:
        here = int(((one - other[there]) ** 2).sum(axis=1).argmin())
        distances = ((other - one[here]) ** 2).sum(axis=1)
        there = int(distances.argmin())
        if distances[there] >= before:
            return here, there
        before = distances[there]


def filled(points_xy: np.ndarray, *, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie inside a ring, by the even-odd rule.

    Args:
        points_xy: (n, 2), pixels; may lie outside the image.
        size_hw: height and width of the image.

    Returns:
        (H, W) bool.
    """
    height, width = size_hw
    is_flip = np.zeros((height, width + 1), dtype=bool)  # where a row goes into the ring or out of it
    points = np.clip(np.asarray(points_xy, dtype=np.float64).reshape(-1, 2), -_FAR_PX, _FAR_PX)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 > y2:  # a line that is gone along both ways must meet the same pixels, whatever is rounded
            (x1, y1), (x2, y2) = (x2, y2), (x1, y1)
        first, last = np.clip(np.ceil(np.array([y1, y2]) - 0.5), 0, height).astype(int)
        if first < last:
            rows = np.arange(first, last)
            x = x1 + (rows + 0.5 - y1) * ((x2 - x1) / (y2 - y1))
            is_flip[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(is_flip[:, :width], axis=1)
