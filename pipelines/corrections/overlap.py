"""Measures how much annotations overlap: pairs of one kind of geometry and their intersection over union."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never, cast

import numpy as np

from models.geometry import iou
from models.types import Annotation, Box, Geometry, Mask, Polygon, TextSpan, TimeSpan, WholeItem

Kind = Literal["box", "area", "text", "time", "whole"]

KINDS: tuple[Kind, ...] = ("box", "area", "text", "time", "whole")

_PAIRS_AT_ONCE = 2_000_000  # 16 MB for each array
_MOST_PAIRS = 1_000_000  # that overlap: a few hundred megabytes, and seconds to match; a crowd of 1,000 is a tenth
_FARTHEST = 1e7  # pixels, characters or seconds; a double counts hundredths there, and areas stay finite
_LONGEST_SIDE_PX = 65_535  # of a JPEG; it bounds what a polygon that lies nowhere can cost
_SHORTEST_S = 0.001  # a time span may be empty, and is still the same as its like


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One annotation of each side, by their places, and their intersection over union in (0, 1]."""

    predicted: int
    right: int
    iou: float


def kind_of(geometry: Geometry) -> Kind:
    """What it can be compared with: masks and polygons are both areas."""
    match geometry:
        case Box():
            return "box"
        case Mask() | Polygon():
            return "area"
        case TextSpan():
            return "text"
        case TimeSpan():
            return "time"
        case WholeItem():
            return "whole"
        case _:
            assert_never(geometry)


def overlapping(predicted: Sequence[Annotation], right: Sequence[Annotation], *, min_iou: float) -> Iterator[Pair]:
    """The pairs of one kind that overlap by ``min_iou`` or more, and at all.

    Masks must be ones that pipelines.answer finds possible. Polygons are drawn onto the canvas of the masks beside
    them; where there is none, onto one that holds them all. Masks of different sizes do not overlap.

    Raises:
        ValueError: they lie in such a heap that more than a million pairs overlap.
    """
    found = 0
    for kind in KINDS:
        ours = [place for place, one in enumerate(predicted) if kind_of(one.geometry) == kind]
        theirs = [place for place, one in enumerate(right) if kind_of(one.geometry) == kind]
        if ours and theirs:
            geometries = [predicted[place].geometry for place in ours], [right[place].geometry for place in theirs]
            for row, column, value in (_of_areas if kind == "area" else _of_boxes)(*geometries, min_iou):
                found += 1
                if found > _MOST_PAIRS:
                    raise ValueError(f"{len(predicted)} and {len(right)} annotations lie in a heap; give fewer")
                yield Pair(predicted=ours[row], right=theirs[column], iou=value)


def extents(areas: Sequence[Geometry]) -> np.ndarray:
    """The tight boxes around masks and polygons: (n, 4) float64, xyxy in pixels."""
    from pycocotools import mask as coco_mask

    boxes_xywh = np.asarray(coco_mask.toBbox(cast(Any, run_lengths_of(areas))), dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1)


def coverage(covered: Sequence[Geometry], covering: Sequence[Geometry]) -> np.ndarray:
    """Which share of each area lies within each other: (n,), (m,) → (n, m) in [0, 1]."""
    from pycocotools import mask as coco_mask

    if not covered or not covering:
        return np.zeros((len(covered), len(covering)))
    rles = run_lengths_of([*covered, *covering])
    rows, columns = rles[: len(covered)], rles[len(covered) :]
    return np.maximum(coco_mask.iou(rows, columns, [1] * len(columns)), 0.0)  # −1 where the sizes differ


def run_lengths_of(areas: Sequence[Geometry]) -> list[Any]:
    """Masks and polygons as pycocotools takes them; polygons are drawn onto the canvas that ``overlapping`` names."""
    from pycocotools import mask as coco_mask

    height, width = _canvas(areas)
    found = list[Any]()
    for area in areas:
        match area:
            case Mask(size_hw=size_hw, counts=counts):
                found.append({"size": list(size_hw), "counts": counts.encode("ascii")})
            case Polygon(points_xy=points):
                ring = np.clip(np.array(points, dtype=np.float64), 0.0, (width, height)).ravel().tolist()
                found += coco_mask.frPyObjects(cast(Any, [ring]), height, width)
            case _:
                raise TypeError(f"wanted a mask or a polygon; got {area}")
    return found


def _canvas(areas: Sequence[Geometry]) -> tuple[int, int]:
    """Height and width of what polygons are drawn onto."""
    for area in areas:
        if isinstance(area, Mask):
            return area.size_hw
    points = [point for area in areas if isinstance(area, Polygon) for point in area.points_xy]
    far_x, far_y = np.clip(np.max(np.array(points, dtype=np.float64), axis=0), 0.0, _LONGEST_SIDE_PX - 1)
    return int(far_y) + 1, int(far_x) + 1


def _of_areas(
    predicted: Sequence[Geometry], right: Sequence[Geometry], min_iou: float
) -> Iterator[tuple[int, int, float]]:
    from pycocotools import mask as coco_mask

    if len(predicted) * len(right) > 10 * _MOST_PAIRS:
        raise ValueError(f"{len(predicted)} and {len(right)} areas are too many to compare; give fewer")
    rles = run_lengths_of([*predicted, *right])
    rows, columns = rles[: len(predicted)], rles[len(predicted) :]
    yield from _entries(np.asarray(coco_mask.iou(rows, columns, [0] * len(columns))), min_iou)


def _of_boxes(
    predicted: Sequence[Geometry], right: Sequence[Geometry], min_iou: float
) -> Iterator[tuple[int, int, float]]:
    """Some rows at a time, from left to right, against what lies beside them, so that memory stays bounded."""
    a_xyxy, b_xyxy = _boxes(predicted), _boxes(right)
    order, step = np.argsort(a_xyxy[:, 0], kind="stable"), max(1, min(256, _PAIRS_AT_ONCE // len(b_xyxy)))
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        is_beside = (b_xyxy[:, 0] < a_xyxy[rows, 2].max()) & (b_xyxy[:, 2] > a_xyxy[rows, 0].min())
        columns = np.flatnonzero(is_beside)
        for row, column, value in _entries(iou(a_xyxy[rows], b_xyxy[columns]), min_iou):
            yield int(rows[row]), int(columns[column]), value


def _entries(values: np.ndarray, min_iou: float) -> Iterator[tuple[int, int, float]]:
    rows, columns = np.nonzero((values >= min_iou) & (values > 0.0))
    yield from zip(rows.tolist(), columns.tolist(), values[rows, columns].tolist(), strict=True)


def _boxes(geometries: Sequence[Geometry]) -> np.ndarray:
    """(n, 4) float64; a span is a box of height 1, so that one formula serves all."""
    boxes = [_box(geometry) for geometry in geometries]
    return np.clip(np.array(boxes, dtype=np.float64).reshape(-1, 4), -_FARTHEST, _FARTHEST)


def _box(geometry: Geometry) -> tuple[float, float, float, float]:
    match geometry:
        case Box(xyxy=xyxy):
            return xyxy
        case TextSpan(start=start, end=end):
            return min(start, _FARTHEST), 0.0, min(end, _FARTHEST), 1.0
        case TimeSpan(start_s=start_s, end_s=end_s):
            return start_s, 0.0, max(end_s, start_s + _SHORTEST_S), 1.0
        case WholeItem():
            return 0.0, 0.0, 1.0, 1.0
        case _:
            raise TypeError(f"wanted a box or a span; got {geometry}")
