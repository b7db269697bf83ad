"""Writes objects as boxes for YOLO: data.yaml, and a text file of normalised boxes for each image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from models.types import Task
from pipelines.formats import yolo_dataset
from pipelines.formats.exported import Exported, LeftOut
from pipelines.formats.extents import boxes
from pipelines.formats.results import Result
from pipelines.formats.yolo_dataset import Row

TASKS: frozenset[Task] = frozenset({"detection", "segmentation"})


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write a line ``class x_center y_center width height`` for each object; see ``yolo_dataset`` for the files.

    Numbers are shares of the image's width and height (docs.ultralytics.com/datasets/detect). Boxes end at the image's
    edges, since Ultralytics refuses a file with numbers beyond 1. A mask or polygon is written as the box around it.
    """
    return yolo_dataset.write(entries, labels=labels, out=out, rows=_rows)


def _rows(result: Result, size_hw: tuple[int, int], left_out: LeftOut) -> Iterator[Row]:
    height, width = size_hw
    for boxed in boxes(result, left_out):
        x1, y1, x2, y2 = boxed.xyxy
        numbers = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
        yield Row(annotation=boxed.annotation, numbers=numbers)
