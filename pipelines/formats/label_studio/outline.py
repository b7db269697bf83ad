"""Draws the parts of a mask as polygons that a human can edit."""

from __future__ import annotations

import numpy as np

from models.rings import trace

# The steps of a slanted edge of pixels are up to 0.71 px off the straight line.
_TOLERANCE_PX = 0.75
_SMALLEST_PART = 0.01  # of the largest part's area; smaller ones are specks that nobody wants to correct


def outlines(bitmap: np.ndarray) -> list[np.ndarray]:
    """The outer edges of a bitmap's parts, the largest first, without their holes and without specks.

    A corner less than 0.75 px off the line between its neighbours is left out (Ramer 1972; Douglas and Peucker 1973),
    unless fewer than three would be left.

    Args:
        bitmap: (H, W) bool.

    Returns:
        For each part (n, 2) float64, n ≥ 3: x, y in pixels.
    """
    parts = [(area, ring) for ring in trace(bitmap) if (area := _area(ring)) > 0.0]  # holes go the other way round
    parts.sort(key=lambda part: -part[0])
    return [_simplified(ring) for area, ring in parts if area >= _SMALLEST_PART * parts[0][0]]


def _area(ring: np.ndarray) -> float:
    """Signed area of (n, 2) corners; positive for clockwise as seen, y downwards."""
    x, y = ring.astype(np.float64).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2.0


def _simplified(ring: np.ndarray) -> np.ndarray:
    points = ring.astype(np.float64)
    farthest = int(((points - points[0]) ** 2).sum(axis=1).argmax())
    is_kept = np.zeros(len(points) + 1, dtype=bool)
    is_kept[[0, farthest, len(points)]] = True
    closed = np.concatenate([points, points[:1]])
    stack = [(0, farthest), (farthest, len(points))]
    while stack:
        first, last = stack.pop()
        if last - first > 1:
            distances = _distances(closed[first + 1 : last], closed[first], closed[last])
            place = int(distances.argmax())
            if distances[place] > _TOLERANCE_PX:
                middle = first + 1 + place
                is_kept[middle] = True
                stack += [(first, middle), (middle, last)]
    kept = points[is_kept[:-1]]
    return kept if len(kept) > 2 else points


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far (n, 2) points lie from the line between two; from the point where both are one."""
    along, offsets = end - start, points - start
    length = float(np.hypot(*along))
    if length == 0.0:
        return np.hypot(offsets[:, 0], offsets[:, 1])
    return np.abs(along[0] * offsets[:, 1] - along[1] * offsets[:, 0]) / length
