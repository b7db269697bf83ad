"""Holds the rules about polygons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from models.types import Annotation, Polygon
from pipelines.sanity.draft import Draft
from pipelines.sanity.overlaps import ranges

_NO_AREA_PX2 = 1e-6  # what rounding leaves of three points on a line
_PAIRS_AT_ONCE = 1_000_000

Point = tuple[float, float]


def outside(draft: Draft) -> None:
    size_hw = draft.prediction.size_hw
    if size_hw is None or min(size_hw) <= 0:
        return
    height, width = size_hw
    image = f"the image of {width} × {height} px"
    for row in draft.rows(Polygon):
        points = _array(row.geometry.points_xy)
        if not len(points) or not np.isfinite(points).all():
            continue
        if (points >= 0.0).all() and (points <= [width, height]).all():
            continue
        clipped = _clipped(row.geometry.points_xy, size_hw=size_hw)
        if len(clipped) < 3 or _area(_array(clipped)) <= _NO_AREA_PX2:
            draft.remove("outside_image", row.place, f"the polygon lies outside of {image}")
        else:
            message = f"the polygon reaches beyond {image}"
            draft.change("outside_image", row.place, message, instead=_with_points(row.annotation, clipped))


def degenerate(draft: Draft) -> None:
    for row in draft.rows(Polygon):
        points = _array(row.geometry.points_xy)
        if not np.isfinite(points).all():
            draft.remove("degenerate_polygon", row.place, "the polygon has points that are not finite")
            continue
        ring = _without_repeats(points)
        crosses_itself = _crosses_itself(ring)
        if not crosses_itself and (len(ring) < 3 or _area(ring) <= _NO_AREA_PX2):
            message = f"the polygon of {len(ring)} different points in a row has no area"
            draft.remove("degenerate_polygon", row.place, message)
            continue
        if len(ring) < len(points):
            message = f"{len(points) - len(ring)} of the polygon's {len(points)} points repeat their neighbour"
            instead = _with_points(row.annotation, ring.tolist())
            draft.change("degenerate_polygon", row.place, message, instead=instead)
        if crosses_itself:
            draft.flag("degenerate_polygon", row.place, "the polygon's outline crosses itself")


def _clipped(points_xy: Sequence[Point], *, size_hw: tuple[int, int]) -> list[Point]:
    """The ring's part within the image; Sutherland & Hodgman 1974."""
    points = list(points_xy)
    for axis, bound, sign in ((0, 0.0, 1), (0, float(size_hw[1]), -1), (1, 0.0, 1), (1, float(size_hw[0]), -1)):
        points = list(_cut(points, axis=axis, bound=bound, sign=sign))
    return [(float(x), float(y)) for x, y in np.clip(_array(points), 0.0, [size_hw[1], size_hw[0]])]


def _cut(points: Sequence[Point], *, axis: int, bound: float, sign: int) -> Iterator[Point]:
    """The ring's part on one side of a line: above the bound for sign 1, below it for -1."""
    for index, point in enumerate(points):
        before = points[index - 1]
        is_in, was_in = sign * (point[axis] - bound) >= 0, sign * (before[axis] - bound) >= 0
        if is_in != was_in:
            share = (bound - before[axis]) / (point[axis] - before[axis])
            other = before[1 - axis] + share * (point[1 - axis] - before[1 - axis])
            yield (bound, other) if axis == 0 else (other, bound)
        if is_in:
            yield point


def _without_repeats(points_xy: np.ndarray) -> np.ndarray:
    """(n, 2) → (m, 2): points that differ from the next one; after the last comes the first."""
    differs = (points_xy != np.roll(points_xy, -1, axis=0)).any(axis=1)
    return points_xy[differs] if differs.any() else points_xy[:1]


def _area(points_xy: np.ndarray) -> float:
    """What the ring encloses, from its first point on, so that large coordinates cost no digits."""
    x, y = (points_xy - points_xy[0]).T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


def _crosses_itself(ring: np.ndarray) -> bool:
    """Whether two edges of the ring cross at a point within both; edges that only touch or lie on each other do not.

    Edges are compared where their extents in x overlap.
    """
    starts, ends = ring, np.roll(ring, -1, axis=0)
    low, high = np.minimum(starts[:, 0], ends[:, 0]), np.maximum(starts[:, 0], ends[:, 0])
    order = np.argsort(low, kind="stable")
    starts, ends, low, high = starts[order], ends[order], low[order], high[order]
    last = np.searchsorted(low, high, side="right")  # edge i may cross those from i + 1 to last[i]
    at_once = max(_PAIRS_AT_ONCE // max(len(ring), 1), 1)
    return any(
        _any_cross(starts, ends, np.arange(first, min(first + at_once, len(ring))), last)
        for first in range(0, len(ring), at_once)
    )


def _any_cross(starts: np.ndarray, ends: np.ndarray, edges: np.ndarray, last: np.ndarray) -> bool:
    row, b = ranges(edges + 1, np.maximum(last[edges] - edges - 1, 0))
    a = edges[row]
    is_apart = _side(starts[a], ends[a], starts[b]) * _side(starts[a], ends[a], ends[b]) < 0
    is_apart &= _side(starts[b], ends[b], starts[a]) * _side(starts[b], ends[b], ends[a]) < 0
    return bool(is_apart.any())


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """On which side of each line each point lies: -1, 1, or 0 on it; (n, 2) three times → (n,)."""
    along, towards = end - start, point - start
    return np.sign(along[:, 0] * towards[:, 1] - along[:, 1] * towards[:, 0])


def _array(points_xy: Sequence[Point]) -> np.ndarray:
    return np.array(points_xy, dtype=np.float64).reshape(-1, 2)


def _with_points(annotation: Annotation, points: Sequence[Sequence[float]]) -> Annotation:
    return replace(annotation, geometry=Polygon(points_xy=tuple((float(x), float(y)) for x, y in points)))
