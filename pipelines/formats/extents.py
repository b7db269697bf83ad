"""Finds how large an image is, and the box that a label takes up in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import assert_never

from models.geometry import decode_mask, mask_box
from models.types import Annotation, Box, Geometry, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats.exported import LeftOut, objects
from pipelines.formats.results import Result

Extent = tuple[float, float, float, float]

_LONGEST_SIDE = 1 << 24  # pixels; readers hold coordinates as float32, which counts no further


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxed:
    """An object and its box, cut off at the image's edges; ``is_cut`` says that something was."""

    annotation: Annotation
    xyxy: Extent
    is_cut: bool


def image_size_hw(result: Result) -> tuple[int, int] | None:
    """Height and width of the result's image in pixels, or of its masks; None where nobody knows."""
    of_masks = (a.geometry.size_hw for a in result.annotations if isinstance(a.geometry, Mask))
    return next((size for size in chain([result.size_hw], of_masks) if size and min(size) > 0), None)


def extent(geometry: Geometry) -> Extent | None:
    """The xyxy box around a shape; None around no pixels and no points, and where the label has no shape."""
    match geometry:
        case Box():
            return geometry.xyxy
        case Mask():
            return mask_box(decode_mask(geometry))
        case Polygon(points_xy=points):
            x, y = zip(*points, strict=True) if points else ((), ())
            return (min(x), min(y), max(x), max(y)) if points else None
        case WholeItem() | TextSpan() | TimeSpan():
            return None
        case _:
            assert_never(geometry)


def boxes(result: Result, left_out: LeftOut) -> Iterator[Boxed]:
    """The objects of an image for a format that holds boxes alone; what is lost is counted."""
    height, width = image_size_hw(result) or (_LONGEST_SIDE, _LONGEST_SIDE)
    for annotation, _ in objects(result):
        if not isinstance(annotation.geometry, (Box, Mask, Polygon)):
            left_out["labels of the whole image"] += 1
            continue
        xyxy = extent(annotation.geometry) or (0.0, 0.0, 0.0, 0.0)
        x1, y1 = max(xyxy[0], 0.0), max(xyxy[1], 0.0)
        x2, y2 = min(xyxy[2], width), min(xyxy[3], height)
        if x1 >= x2 or y1 >= y2:
            left_out["objects without any area inside the image"] += 1
            continue
        if not isinstance(annotation.geometry, Box):
            left_out["outlines of objects that are written as boxes"] += 1
        yield Boxed(annotation=annotation, xyxy=(x1, y1, x2, y2), is_cut=(x1, y1, x2, y2) != xyxy)
