"""Writes detections as JSON Lines that ``supervision.Detections.from_inference`` reads.

Reference: process_roboflow_result in supervision/detection/utils/internal.py, supervision 0.31; the objects are those
of Roboflow's inference server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from models.types import Annotation, Box, Mask, Polygon, Task, TextSpan, TimeSpan, WholeItem
from pipelines.formats.characters import clean, label_of, labels_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled, objects
from pipelines.formats.extents import extent, image_size_hw
from pipelines.formats.results import Result
from pipelines.formats.streams import json_lines

TASKS: frozenset[Task] = frozenset({"detection", "segmentation"})

Predictions = list[dict[str, object]]


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write detections.jsonl: ``sv.Detections.from_inference(json.loads(line))`` for each line.

    A box is its centre, width and height in pixels; a mask is a COCO run-length encoding, a polygon its points, which
    supervision draws as a mask. ``confidence`` is the certainty, ``score_kind`` says whether it is a calibrated
    "confidence" or the model's "score"; ``class_id`` counts the labels in alphabetical order. Each line also has its
    ``image_id``, ``uri``, ``task``, ``status`` and ``route``, which supervision passes over.

    Since supervision keeps the masks of a line only if every object in it has one, an image with both has two lines:
    first the objects with an outline, then the boxes. An image of unknown size, which boxes do not need, is 0 × 0.
    """
    left_out = LeftOut()
    class_ids = {name: number for number, name in enumerate(labels_of(labels))}
    with json_lines(out / "detections.jsonl") as add:
        for entry in labelled(entries, left_out):
            for predictions in parts(entry.result, class_ids, left_out):
                add(_image(entry) | {"predictions": predictions})
    return left_out


def _image(entry: Exported) -> dict[str, object]:
    result = entry.result
    height, width = image_size_hw(result) or (0, 0)
    return {
        "image_id": name_of(result.id),
        "uri": clean(entry.item.uri) if entry.item.uri else None,
        "task": result.task,
        "status": result.status,
        "route": result.decision.route if result.decision else None,
        "image": {"width": width, "height": height},
    }


def parts(result: Result, class_ids: Mapping[str, int], left_out: LeftOut) -> Iterator[Predictions]:
    """The result's objects as supervision reads them: first those with an outline, then the boxes.

    There is one part at least, and two where the result has both.

    Args:
        class_ids: by the names that labels are written by.
    """
    outlined, boxed = Predictions(), Predictions()
    is_sized = image_size_hw(result) is not None
    for annotation, _ in objects(result):
        outline = _outline(annotation, left_out, is_sized=is_sized)
        if outline is not None:
            (outlined if outline else boxed).append(_prediction(annotation, class_ids) | outline)
    if outlined:
        yield outlined
    if boxed or not outlined:
        yield boxed


def _outline(annotation: Annotation, left_out: LeftOut, *, is_sized: bool) -> dict[str, object] | None:
    """How a shape's outline is written, nothing for a box; None if it cannot be held."""
    match annotation.geometry:
        case Box():
            return {}
        case Mask() as mask:
            return {"rle": {"size": list(mask.size_hw), "counts": mask.counts}}
        case Polygon(points_xy=points) if len(points) > 2 and is_sized:
            return {"points": [{"x": x, "y": y} for x, y in points]}
        case Polygon(points_xy=points):
            left_out[
                "polygons in images of unknown size" if len(points) > 2 else "polygons of fewer than three points"
            ] += 1
        case WholeItem():
            left_out["labels of the whole image"] += 1
        case TextSpan() | TimeSpan():
            left_out["labels that are not in an image"] += 1
    return None


def _prediction(annotation: Annotation, class_ids: Mapping[str, int]) -> dict[str, object]:
    x1, y1, x2, y2 = extent(annotation.geometry) or (0.0, 0.0, 0.0, 0.0)
    score, kind = certainty(annotation)
    label = label_of(annotation.label)
    return {
        "x": (x1 + x2) / 2.0,
        "y": (y1 + y2) / 2.0,
        "width": x2 - x1,
        "height": y2 - y1,
        "confidence": score,
        "score_kind": kind,
        "class": label,
        "class_id": class_ids[label],
        "detection_id": clean(annotation.id),
    }
