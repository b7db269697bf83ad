"""Draws boxes, polygons and masks in percent of an image's sides, as Label Studio has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

import numpy as np

from models.geometry import decode_mask, encode_mask
from models.rings import filled
from models.types import Box, Mask, Polygon
from pipelines.formats.extents import extent
from pipelines.formats.label_studio.brush import brush_rle
from pipelines.formats.label_studio.outlets import Shape
from pipelines.formats.label_studio.outline import outlines

Value = Mapping[str, object]
Points = Iterable[tuple[float, float]]


def drawn(geometry: Box | Polygon | Mask, shape: Shape, *, size_hw: tuple[int, int]) -> list[Value]:
    """A place in an image as values of regions of a shape: none where nothing of it lies inside the image.

    Only the outlines of a mask can be more than one: its parts.

    Args:
        size_hw: the image's; of a mask it has to be the mask's own.
    """
    match shape:
        case "rectangle":
            return list(_rectangles(geometry, size_hw))
        case "polygon":
            return [_polygon(ring, size_hw) for ring in _rings(geometry) if _is_area(ring, size_hw)]
        case "brush":
            rle = brush_rle(_mask(geometry, size_hw))
            return [{"format": "rle", "rle": rle}] if rle else []
        case "span":
            return []
        case _:
            assert_never(shape)


def _rectangles(geometry: Box | Polygon | Mask, size_hw: tuple[int, int]) -> Iterator[Value]:
    height, width = size_hw
    xyxy = extent(geometry)
    if xyxy is None or np.isnan(xyxy).any():
        return
    left, top = _percent(xyxy[0], width), _percent(xyxy[1], height)
    right, bottom = _percent(xyxy[2], width), _percent(xyxy[3], height)
    if left < right and top < bottom:
        yield {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}


def _rings(geometry: Box | Polygon | Mask) -> list[list[tuple[float, float]]]:
    match geometry:
        case Box(xyxy=(x1, y1, x2, y2)):
            return [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]]
        case Polygon(points_xy=points):
            return [list(points)]
        case Mask():
            return [[(float(x), float(y)) for x, y in ring] for ring in outlines(decode_mask(geometry))]
        case _:
            assert_never(geometry)


def _polygon(points: Points, size_hw: tuple[int, int]) -> Value:
    height, width = size_hw
    return {"points": [[_percent(x, width), _percent(y, height)] for x, y in points], "closed": True}


def _is_area(points: list[tuple[float, float]], size_hw: tuple[int, int]) -> bool:
    """Whether a ring has three points or more, all numbers, and some extent inside the image."""
    if len(points) < 3:
        return False
    inside = np.clip(np.array(points, dtype=np.float64), 0.0, size_hw[::-1])
    return not np.isnan(inside).any() and bool(np.ptp(inside, axis=0).all())


def _mask(geometry: Box | Polygon | Mask, size_hw: tuple[int, int]) -> Mask:
    if isinstance(geometry, Mask):
        return geometry
    (ring,) = _rings(geometry)
    is_drawable = _is_area(ring, size_hw)
    return encode_mask(filled(np.array(ring), size_hw=size_hw) if is_drawable else np.zeros(size_hw, dtype=bool))


def _percent(pixels: float, side: int) -> float:
    """A place in percent of the image's side; what lies outside is put at the edge, for Label Studio refuses it."""
    return min(max(100.0 * float(pixels) / side, 0.0), 100.0)
