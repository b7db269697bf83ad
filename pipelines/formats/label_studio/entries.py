"""Reads the entries of a human's ``result`` as places, labels and texts, trusting none of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from models.geometry import encode_mask
from models.types import Box, Geometry, Media, Polygon, TextSpan, TimeSpan
from pipelines.formats.label_studio.brush import brush_bitmap

Entry = Mapping[str, Any]  # as it came by JSON

_TOOLS = ("rectangle", "polygon", "brush", "ellipse", "keypoint")
_ELLIPSE_POINTS = 64
_SQUARE_PX = 1e-6  # a turn by whole quarters leaves a box


def kind_of(entry: Entry) -> str:
    """The type without what says where its labels are: "rectangle" of "rectanglelabels"."""
    kind = str(entry.get("type", "")).lower()
    tool = kind.removesuffix("labels")
    return tool if tool in _TOOLS else kind


def labels_of(entry: Entry) -> list[str]:
    value = _value(entry)
    found = value.get(str(entry.get("type"))) if str(entry.get("type", "")).endswith("labels") else None
    return _strings(found if found is not None else value.get("labels"))


def choices_of(entry: Entry) -> list[str]:
    """The choices, of nested ones the innermost."""
    found = _value(entry).get("choices")
    inner = [one[-1] if isinstance(one, list) and one else one for one in found] if isinstance(found, list) else []
    return _strings(inner)


def text_of(entry: Entry) -> str:
    """What a text area holds; several submissions are lines of one text."""
    text = _value(entry).get("text")
    return text if isinstance(text, str) else "\n".join(_strings(text))


def duration_s(entry: Entry) -> float | None:
    return _number(entry.get("original_length"))


def geometry(entry: Entry, media: Media | None, *, size_hw: tuple[int, int] | None) -> Geometry | None:
    """Where an entry lies; None where it has no place that we know, or says nothing that could be one.

    Args:
        size_hw: the image's, where the entry does not say it.
    """
    value = _value(entry)
    match media:
        case "text":
            return _text_span(value)
        case "audio":
            return _time_span(value)
        case "image" if size := _size_hw(entry) or size_hw:
            return _shape(kind_of(entry), value, size)
        case _:
            return None


def point_px(entry: Entry, *, size_hw: tuple[int, int] | None) -> tuple[float, float] | None:
    """A key point in pixels, put at the edge where it lies outside the image."""
    size, value = _size_hw(entry) or size_hw, _value(entry)
    x, y = _number(value.get("x")), _number(value.get("y"))
    if size is None or x is None or y is None:
        return None
    return min(max(x, 0.0), 100.0) * size[1] / 100.0, min(max(y, 0.0), 100.0) * size[0] / 100.0


def _value(entry: Entry) -> Entry:
    value = entry.get("value")
    return value if isinstance(value, Mapping) else {}


def _strings(found: object) -> list[str]:
    return [one for one in found if isinstance(one, str) and one] if isinstance(found, list) else []


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e18 < value < 1e18:
        return None
    return float(value)


def _numbers(value: Entry, *names: str) -> list[float] | None:
    found = [_number(value.get(name)) for name in names]
    return [one for one in found if one is not None] if None not in found else None


def _size_hw(entry: Entry) -> tuple[int, int] | None:
    sides = _numbers(entry, "original_height", "original_width")
    return (int(sides[0]), int(sides[1])) if sides and min(sides) >= 1.0 else None


def _text_span(value: Entry) -> TextSpan | None:
    offsets = value if isinstance(value.get("start"), int) else value.get("globalOffsets", value)
    bounds = [_offset(offsets.get(name)) for name in ("start", "end")] if isinstance(offsets, Mapping) else []
    places = sorted(bound for bound in bounds if bound is not None)
    return TextSpan(start=places[0], end=places[1]) if len(places) == 2 and 0 <= places[0] < places[1] else None


def _offset(value: object) -> int | None:
    """A whole number; an older Label Studio writes it as a string."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time_span(value: Entry) -> TimeSpan | None:
    bounds = _numbers(value, "start", "end")
    if bounds is None:
        return None
    start, end = sorted(bounds)
    return TimeSpan(start_s=start, end_s=end) if start >= 0.0 else None


def _shape(kind: str, value: Entry, size_hw: tuple[int, int]) -> Geometry | None:
    match kind:
        case "rectangle":
            return _rectangle(value, size_hw)
        case "ellipse":
            return _ellipse(value, size_hw)
        case "polygon":
            points = list(_points(value.get("points"), size_hw))
            return Polygon(points_xy=tuple(points)) if len(points) > 2 else None
        case "brush" if isinstance(rle := value.get("rle"), Sequence) and not isinstance(rle, str):
            bitmap = brush_bitmap(rle, size_hw=size_hw)
            return encode_mask(bitmap) if bitmap is not None and bitmap.any() else None
        case _:
            return None


def _rectangle(value: Entry, size_hw: tuple[int, int]) -> Geometry | None:
    """A box; turned about its first corner, as the editor turns it, a polygon of its corners."""
    sides = _numbers(value, "x", "y", "width", "height")
    if sides is None or not sides[2] or not sides[3]:
        return None
    height, width = size_hw
    x, y, across, down = (side * whole / 100.0 for side, whole in zip(sides, (width, height) * 2, strict=True))
    corners = np.array([(0.0, 0.0), (across, 0.0), (across, down), (0.0, down)])
    return _box_or_polygon(_turned(corners, value) + np.array([x, y]))


def _ellipse(value: Entry, size_hw: tuple[int, int]) -> Geometry | None:
    sides = _numbers(value, "x", "y", "radiusX", "radiusY")
    if sides is None or min(sides[2:]) <= 0.0:
        return None
    height, width = size_hw
    x, y, across, down = (side * whole / 100.0 for side, whole in zip(sides, (width, height) * 2, strict=True))
    angles = np.linspace(0.0, 2.0 * np.pi, _ELLIPSE_POINTS, endpoint=False)
    ring = _turned(np.stack([across * np.cos(angles), down * np.sin(angles)], axis=1), value) + np.array([x, y])
    return Polygon(points_xy=tuple((float(x), float(y)) for x, y in ring))


def _turned(points: np.ndarray, value: Entry) -> np.ndarray:
    """(n, 2) pixels turned about the origin by ``rotation`` degrees, clockwise as seen."""
    angle = math.radians((_number(value.get("rotation")) or 0.0) % 360.0)
    cosine, sine = math.cos(angle), math.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def _box_or_polygon(corners: np.ndarray) -> Geometry:
    first, last = corners.min(axis=0), corners.max(axis=0)
    if np.minimum(corners - first, last - corners).max() < _SQUARE_PX:
        return Box(xyxy=(float(first[0]), float(first[1]), float(last[0]), float(last[1])))
    return Polygon(points_xy=tuple((float(x), float(y)) for x, y in corners))


def _points(points: object, size_hw: tuple[int, int]) -> Iterator[tuple[float, float]]:
    for point in points if isinstance(points, list) else []:
        if isinstance(point, Sequence) and len(point) == 2:
            x, y = map(_number, point)
            if x is not None and y is not None:
                yield x * size_hw[1] / 100.0, y * size_hw[0] / 100.0
