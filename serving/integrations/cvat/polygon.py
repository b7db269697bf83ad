"""Turns masks and boxes into polygons that a person can edit."""

from __future__ import annotations

import numpy as np

from models.rings import joined, trace

_TOLERANCE_PX = 1.0  # takes away the steps of a slanted edge, which are at most 0.71 px off the line


def polygon_of(bitmap: np.ndarray, *, tolerance_px: float = _TOLERANCE_PX) -> np.ndarray | None:
    """One ring around a bitmap's true pixels, no farther than ``tolerance_px`` from their edge.

    Parts and holes are joined into the one ring (models/rings.py), so that an object stays one shape with one score.
    Rings that the tolerance leaves nothing of are dropped, unless they are all there is.

    Args:
        bitmap: (H, W) bool.

    Returns:
        (n, 2) float64 x, y in pixels; None where no pixel is true.
    """
    rings = trace(bitmap)
    if not rings:
        return None
    simple = [ring for ring in (simplified(ring, tolerance_px=tolerance_px) for ring in rings) if len(ring) > 2]
    return joined(simple or [max(rings, key=_area)]).astype(np.float64)


def simplified(ring: np.ndarray, *, tolerance_px: float) -> np.ndarray:
    """The ring with as few of its points as keep every other within the tolerance: Douglas and Peucker 1973.

    Args:
        ring: (n, 2) x, y; the first point not again at the end.

    Returns:
        (m, 2), m ≤ n; fewer than 3 where the ring is thinner than the tolerance.
    """
    far = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    closed = np.concatenate([ring, ring[:1]])
    is_kept = np.zeros(len(closed), dtype=bool)
    is_kept[[0, far, len(ring)]] = True
    stretches = [(0, far), (far, len(ring))]
    while stretches:
        first, last = stretches.pop()
        if last - first < 2:
            continue
        distances = _distances(closed[first + 1 : last], closed[first], closed[last])
        if distances.max() > tolerance_px:
            split = first + 1 + int(distances.argmax())
            is_kept[split] = True
            stretches += (first, split), (split, last)
    return ring[is_kept[:-1]]


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(n, 2) → (n,): how far points lie from the stretch between two others."""
    way, offsets = (end - start).astype(np.float64), (points - start).astype(np.float64)
    length = way @ way
    along = np.clip(offsets @ way / length, 0.0, 1.0) if length else np.zeros(len(points))
    return np.hypot(*(offsets - along[:, None] * way).T)


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
