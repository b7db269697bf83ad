"""Writes image results as a COCO dataset: boxes, polygons and masks with their scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import numpy as np

from models.geometry import decode_mask, mask_box
from models.types import MEDIA_OF_TASK, Annotation, AttributeValue, Mask
from pipelines.formats.results import Result

Extent = tuple[float, float, float, float]


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


def write(
    results: Sequence[Result], sizes: Mapping[str, tuple[int, int]], file_names: Mapping[str, str], file: Path
) -> None:
    """Write the image results among ``results`` as one COCO file.

    Every image is listed, those that failed and those without labels too: ``images[i].prelabel`` says what came out
    for it, task by task. One object is one annotation: a box that a mask was made from is found under the mask's
    ``prelabel.parent``. ``score`` is the model's own number; a calibrated one is in ``prelabel.confidence``.
    Categories are numbered in alphabetical order. A box without a mask has an empty ``segmentation``.

    Args:
        sizes: height and width in pixels by item id; a missing one is written as 0 × 0.
        file_names: by item id; the id stands in for a missing one.

    """
    of_images = [result for result in results if MEDIA_OF_TASK[result.task] == "image"]
    by_image: dict[str, list[Result]] = {}
    for result in of_images:
        by_image.setdefault(result.id, []).append(result)
    image_ids = {item_id: number for number, item_id in enumerate(by_image, start=1)}
    labels = sorted({annotation.label for result in of_images for annotation in result.annotations})
    category_ids = {label: number for number, label in enumerate(labels, start=1)}
    annotations = [
        {"id": number, "image_id": image_ids[result.id], "category_id": category_ids[annotation.label]}
        | _annotation(annotation, result, parents, size_hw=sizes.get(result.id, (0, 0)))
        for number, (result, annotation, parents) in enumerate(_objects(of_images), start=1)
    ]
    dataset = {
        "info": {"description": "Pre-labels made by models, not by people", "models": _models(of_images)},
        "licenses": [],
        "images": [
            {"id": image_ids[item_id], "file_name": file_names.get(item_id, item_id)}
            | _image(item_id, among, size_hw=sizes.get(item_id, (0, 0)))
            for item_id, among in by_image.items()
        ],
        "categories": [{"id": number, "name": label, "supercategory": ""} for label, number in category_ids.items()],
        "annotations": annotations,
    }
    # Not orjson: a file name that is no UTF-8 holds lone surrogates, which only json's \u escapes can carry.
    file.write_text(json.dumps(dataset, allow_nan=False), encoding="ascii")


def _models(results: Sequence[Result]) -> list[str]:
    return sorted({model for result in results if result.provenance for model in result.provenance.chain})


def _objects(results: Sequence[Result]) -> Iterator[tuple[Result, Annotation, Mapping[str | None, Annotation]]]:
    """The annotations to write, with their result and its annotations by id: all but the boxes that became masks."""
    for result in results:
        by_id: dict[str | None, Annotation] = {annotation.id: annotation for annotation in result.annotations}
        refined = {a.parent_id for a in result.annotations if a.geometry.kind in ("mask", "polygon")}
        for annotation in result.annotations:
            if not (annotation.geometry.kind == "box" and annotation.id in refined):
                yield result, annotation, by_id


def _image(item_id: str, results: Sequence[Result], *, size_hw: tuple[int, int]) -> dict[str, object]:
    height, width = size_hw
    outcomes = [_outcome(result) for result in results]
    return {"height": height, "width": width, "prelabel": {"item_id": item_id, "results": outcomes}}


def _outcome(result: Result) -> dict[str, object]:
    return {
        "task": result.task,
        "status": result.status,
        "confidence": result.confidence,
        "uncertainty": result.uncertainty,
        "route": result.decision.route if result.decision else None,
        "error": asdict(result.error) if result.error else None,
    }


def _annotation(
    annotation: Annotation, result: Result, parents: Mapping[str | None, Annotation], *, size_hw: tuple[int, int]
) -> dict[str, object]:
    xyxy, area, segmentation = _shape(annotation, size_hw=size_hw)
    return {
        "bbox": _xywh(xyxy),
        "area": area,
        "segmentation": segmentation,
        "iscrowd": 0,
        "score": annotation.score,
        "prelabel": _extras(annotation, result, parents.get(annotation.parent_id)),
    }


def _shape(annotation: Annotation, *, size_hw: tuple[int, int]) -> tuple[Extent, float, object]:
    """The box around a label in xyxy, its area in square pixels, and its outline as COCO writes it."""
    match annotation.geometry:
        case Mask() as mask:
            rle = {"size": list(mask.size_hw), "counts": mask.counts}
            bitmap = decode_mask(mask)
            return mask_box(bitmap) or (0.0, 0.0, 0.0, 0.0), float(np.count_nonzero(bitmap)), rle
        case polygon if polygon.kind == "polygon":
            points = np.asarray(polygon.points_xy, dtype=np.float64)  # (n, 2)
            x, y = points.T
            area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2.0  # shoelace formula
            extent = float(x.min()), float(y.min()), float(x.max()), float(y.max())
            return extent, area, [points.ravel().tolist()]
        case box if box.kind == "box":
            x1, y1, x2, y2 = box.xyxy
            return box.xyxy, (x2 - x1) * (y2 - y1), []
        case _:
            height, width = size_hw
            return (0.0, 0.0, float(width), float(height)), float(height * width), []


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
    return [x1, y1, x2 - x1, y2 - y1]
