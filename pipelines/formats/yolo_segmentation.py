"""Writes objects as outlines for YOLO: data.yaml, and a text file of normalised polygons for each image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from models.geometry import decode_mask
from models.rings import filled, joined, trace
from models.types import Mask, Polygon, Task
from pipelines.formats import yolo_dataset
from pipelines.formats.exported import Exported, LeftOut, objects
from pipelines.formats.results import Result
from pipelines.formats.yolo_dataset import Row

TASKS: frozenset[Task] = frozenset({"segmentation"})


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write a line ``class x1 y1 x2 y2 …`` for each object with an outline; see ``yolo_dataset`` for the files.

    Numbers are shares of the image's width and height (docs.ultralytics.com/datasets/segment). A mask's outline runs
    along the edges of its pixels, so that it encloses them exactly. A line has one polygon: the parts and the holes of
    a mask are joined by lines of no width, as Ultralytics does when it converts from COCO (merge_multi_segment). A
    polygon is cut off at the image's edges, to the pixel. Ultralytics takes a file of boxes or of outlines, not of
    both: objects without an outline are left out.
    """
    return yolo_dataset.write(entries, labels=labels, out=out, rows=_rows)


def _rows(result: Result, size_hw: tuple[int, int], left_out: LeftOut) -> Iterator[Row]:
    for annotation, _ in objects(result):
        match annotation.geometry:
            case Mask() as mask:
                points = _mask_points(mask)
            case Polygon() as polygon:
                points = _polygon_points(polygon, size_hw=size_hw)
            case _:
                left_out["objects without an outline"] += 1
                continue
        if points is None:
            left_out["objects without any area inside the image"] += 1
        else:
            yield Row(annotation=annotation, numbers=points.ravel().tolist())


def _mask_points(mask: Mask) -> np.ndarray | None:
    """(n, 2) float64, x and y in [0, 1]; None if the mask is empty."""
    rings = trace(decode_mask(mask))
    return joined(rings) / mask.size_hw[::-1] if rings else None


def _polygon_points(polygon: Polygon, *, size_hw: tuple[int, int]) -> np.ndarray | None:
    """(n, 2) float64, x and y in [0, 1]; None if there is nothing of it in the image."""
    points_xy = np.array(polygon.points_xy, dtype=np.float64).reshape(-1, 2)
    width_height = np.array(size_hw[::-1])
    is_inside = ((points_xy >= 0) & (points_xy <= width_height)).all()
    if is_inside and len(points_xy) > 2 and np.ptp(points_xy, axis=0).all():
        return points_xy / width_height
    rings = trace(filled(points_xy, size_hw=size_hw))
    return joined(rings) / width_height if rings else None
