"""Writes image results as a COCO dataset: boxes, polygons and masks with their scores."""

from __future__ import annotations

import json
import math
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TextIO, TypedDict

import numpy as np

from models.geometry import decode_mask, mask_box
from models.types import MEDIA_OF_TASK, Annotation, AttributeValue, Box, Mask, Polygon, Task
from pipelines.formats.exported import Exported, LeftOut, objects
from pipelines.formats.extents import Extent, extent, image_size_hw
from pipelines.formats.results import Result

TASKS: frozenset[Task] = frozenset({"detection", "segmentation"})

_NOWHERE: Extent = (0.0, 0.0, 0.0, 0.0)


class Extras(TypedDict):
    """What COCO has no place for: the field ``prelabel`` of every annotation.

    ``parent`` is the box that a mask was made from; it is not written a second time as an annotation of its own.
    """

    item_id: str
    task: str
    annotation_id: str
    kind: str
    confidence: float | None
    text: str | None
    attributes: dict[str, AttributeValue]
    parent_id: str | None
    parent: dict[str, object] | None


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write the image results among ``entries`` as one COCO file, ``coco.json``.

    Every image is listed, those that failed and those without labels too: ``images[i].prelabel`` says what came out
    for it, task by task. One object is one annotation: a box that a mask was made from is found under the mask's
    ``prelabel.parent``. ``score`` is the model's own number; a calibrated one is in ``prelabel.confidence``.
    Categories are numbered in the order of the labels. A box without a mask has an empty ``segmentation``, and so has a
    polygon of fewer than three points, which is counted as left out. ``file_name`` is the item's uri, or its id if it
    has none; a size that is not known is written as 0 × 0. Coordinates are pixels from the top left, as ours
    (cocodataset.org, "Data format").

    Annotations are written as they come, before the images, which wait in a file of SQLite's own: an image may come
    again for another task.
    """
    left_out, models = LeftOut(), set[str]()
    category_ids = {label: number for number, label in enumerate(labels, start=1)}
    categories = [{"id": number, "name": label, "supercategory": ""} for label, number in category_ids.items()]
    # Not orjson, and ASCII: a file name that is no UTF-8 holds lone surrogates, which only json's \u escapes can carry.
    with (out / "coco.json").open("w", encoding="ascii") as file, closing(_Images()) as images:
        file.write(f'{{"licenses": [], "categories": {_json(categories)}, "annotations": ')
        of_images = _of_images(entries, left_out, models)
        _write_list(file, _annotations(of_images, images, category_ids=category_ids, left_out=left_out))
        file.write(', "images": ')
        _write_list(file, images.rows())
        info = {"description": "Pre-labels made by models, not by people", "models": sorted(models)}
        file.write(f', "info": {_json(info)}}}')
    return left_out


def _of_images(entries: Iterable[Exported], left_out: LeftOut, models: set[str]) -> Iterator[Exported]:
    for entry in entries:
        if MEDIA_OF_TASK[entry.result.task] != "image":
            left_out["texts and recordings"] += 1
            continue
        models.update(entry.result.provenance.chain if entry.result.provenance else ())
        yield entry


def _write_list(file: TextIO, values: Iterable[str]) -> None:
    before = "["
    for value in values:
        file.write(f"{before}\n{value}")
        before = ","
    file.write("[]" if before == "[" else "]")


class _Images:
    """The images of a dataset, numbered as they come, each with its size and what came out for it."""

    def __init__(self) -> None:
        self._table = sqlite3.connect("")  # a file without a name, which is gone when it is closed
        self._table.execute(
            "CREATE TABLE images (number INTEGER PRIMARY KEY, item_id TEXT UNIQUE, file_name TEXT,"
            " height INTEGER, width INTEGER, outcomes TEXT)"
        )

    def add(self, entry: Exported, *, size_hw: tuple[int, int]) -> int:
        """The image's number; one that came before keeps its number, and its size if that was known."""
        item_id = _json(entry.result.id)
        height, width = size_hw
        self._table.execute(
            "INSERT INTO images (item_id, file_name, height, width, outcomes) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (item_id) DO UPDATE SET outcomes = outcomes || ', ' || excluded.outcomes,"
            " height = iif(height, height, excluded.height), width = iif(height, width, excluded.width)",
            (item_id, _json(entry.item.uri or entry.result.id), height, width, _json(_outcome(entry.result))),
        )
        found = self._table.execute("SELECT number FROM images WHERE item_id = ?", (item_id,))
        return found.fetchone()[0]

    def rows(self) -> Iterator[str]:
        """Each image as COCO writes it."""
        rows = self._table.execute("SELECT * FROM images ORDER BY number")
        for number, item_id, file_name, height, width, outcomes in rows:
            extras = f'{{"item_id": {item_id}, "results": [{outcomes}]}}'
            yield (
                f'{{"id": {number}, "file_name": {file_name}, "height": {height}, "width": {width}, '
                f'"prelabel": {extras}}}'
            )

    def close(self) -> None:
        self._table.close()


def _outcome(result: Result) -> dict[str, object]:
    return {
        "task": result.task,
        "status": result.status,
        "confidence": result.confidence,
        "uncertainty": result.uncertainty,
        "route": result.decision.route if result.decision else None,
        "error": asdict(result.error) if result.error else None,
    }


def _annotations(
    entries: Iterable[Exported], images: _Images, *, category_ids: Mapping[str, int], left_out: LeftOut
) -> Iterator[str]:
    number = 0
    for entry in entries:
        size_hw = image_size_hw(entry.result) or (0, 0)
        image_id = images.add(entry, size_hw=size_hw)
        for annotation, parent in objects(entry.result):
            number += 1
            if isinstance(annotation.geometry, Polygon) and len(annotation.geometry.points_xy) < 3:
                left_out["polygons of fewer than three points"] += 1
            ids = {"id": number, "image_id": image_id, "category_id": category_ids[annotation.label]}
            yield _json(ids | _annotation(annotation, entry.result, parent, size_hw=size_hw))


def _annotation(
    annotation: Annotation, result: Result, parent: Annotation | None, *, size_hw: tuple[int, int]
) -> dict[str, object]:
    xyxy, area, segmentation = _shape(annotation, size_hw=size_hw)
    return {
        "bbox": _xywh(xyxy),
        "area": _finite(area),
        "segmentation": segmentation,
        "iscrowd": 0,
        "score": annotation.score,
        "prelabel": _extras(annotation, result, parent),
    }


def _shape(annotation: Annotation, *, size_hw: tuple[int, int]) -> tuple[Extent, float, object]:
    """The box around a label in xyxy, its area in square pixels, and its outline as COCO writes it."""
    height, width = size_hw
    match annotation.geometry:
        case Mask() as mask:
            rle = {"size": list(mask.size_hw), "counts": mask.counts}
            bitmap = decode_mask(mask)
            return mask_box(bitmap) or _NOWHERE, float(np.count_nonzero(bitmap)), rle
        case Polygon(points_xy=points) as polygon:
            # pycocotools takes four numbers for a box.
            outline = [[value for point in points for value in point]] if len(points) > 2 else []
            return extent(polygon) or _NOWHERE, _polygon_area(points), outline
        case Box(xyxy=(x1, y1, x2, y2)) as box:
            return box.xyxy, (x2 - x1) * (y2 - y1), []
        case _:
            return (0.0, 0.0, float(width), float(height)), float(height * width), []


def _polygon_area(points_xy: Sequence[tuple[float, float]]) -> float:
    """Square pixels inside a ring, by the shoelace formula."""
    x, y = np.array(points_xy, dtype=np.float64).reshape(-1, 2).T
    with np.errstate(over="ignore", invalid="ignore"):
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2.0


def _extras(annotation: Annotation, result: Result, parent: Annotation | None) -> Extras:
    return Extras(
        item_id=result.id,
        task=result.task,
        annotation_id=annotation.id,
        kind=annotation.geometry.kind,
        confidence=annotation.confidence,
        text=annotation.text,
        attributes=annotation.attributes,
        parent_id=annotation.parent_id,
        parent=_parent(parent) if parent else None,
    )


def _parent(parent: Annotation) -> dict[str, object]:
    return {
        "id": parent.id,
        "score": parent.score,
        "confidence": parent.confidence,
        "bbox": _xywh(parent.geometry.xyxy) if parent.geometry.kind == "box" else None,
    }


def _xywh(xyxy: Extent) -> list[float]:
    x1, y1, x2, y2 = xyxy
    return [x1, y1, _finite(x2 - x1), _finite(y2 - y1)]


def _finite(value: float) -> float:
    """A number that JSON has: products of very large ones may have become infinite."""
    return value if math.isfinite(value) else sys.float_info.max


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)
