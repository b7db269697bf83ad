"""Writes boxes, polygons, masks and text entities as NDJSON that Labelbox imports as predictions or pre-labels.

Reference: https://docs.labelbox.com/reference/import-image-annotations, import-text-annotations and text-named-entity;
labelbox/data/serialization/ndjson/objects.py, labelbox 7.17.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import UUID

import numpy as np
from PIL import Image

from models.geometry import decode_mask
from models.types import Annotation, Box, Mask, Polygon, Task, TextSpan, TimeSpan, WholeItem
from pipelines.formats.characters import label_of, name_of, to_bytes
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled, objects
from pipelines.formats.streams import json_lines

TASKS: frozenset[Task] = frozenset({"detection", "segmentation", "ner"})


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write predictions.ndjson, one object a line.

    A data row is named by its global key, the item's id; ``name`` is the label, which the ontology must have as a
    feature of the same kind. Boxes and polygons are in pixels, as ours, and polygons end where they begin; a mask is a
    PNG of zeros and ones in base64. A text entity's ``end`` is its last character, not the one behind it; characters
    are taken for Unicode code points, for Labelbox does not say how it counts those beyond U+FFFF. ``confidence`` is
    the certainty, calibrated or not: there is no place to say which.

    ``uuid`` is made of item, task and annotation: importing the same export again replaces what it brought.
    """
    left_out = LeftOut()
    with json_lines(out / "predictions.ndjson") as add:
        for entry in labelled(entries, left_out):
            annotations = [annotation for annotation, _ in objects(entry.result)]
            if not annotations:
                left_out["items without labels"] += 1
            for annotation in annotations:
                if shape := _shape(annotation, left_out):
                    add(_named(annotation, entry) | shape)
    return left_out


def _named(annotation: Annotation, entry: Exported) -> dict[str, object]:
    origin = "\0".join((entry.result.task, annotation.id, entry.item.id))
    return {
        "uuid": str(UUID(bytes=hashlib.sha256(to_bytes(origin)).digest()[:16], version=4)),
        "name": label_of(annotation.label),
        "dataRow": {"globalKey": name_of(entry.item.id)},
        "confidence": certainty(annotation)[0],
    }


def _shape(annotation: Annotation, left_out: LeftOut) -> dict[str, object] | None:
    match annotation.geometry:
        case Box(xyxy=(x1, y1, x2, y2)):
            return {"bbox": {"top": y1, "left": x1, "height": y2 - y1, "width": x2 - x1}}
        case Polygon(points_xy=points) if len(points) > 2:
            ring = points if points[0] == points[-1] else (*points, points[0])
            return {"polygon": [{"x": x, "y": y} for x, y in ring]}
        case Polygon():
            left_out["polygons of fewer than three points"] += 1
        case Mask() as mask:
            return {"mask": {"png": _png(decode_mask(mask))}}
        case TextSpan(start=start, end=end) if start < end:
            return {"location": {"start": start, "end": end - 1}}
        case TextSpan():
            left_out["spans without a character"] += 1
        case WholeItem():
            left_out["labels of the whole item"] += 1
        case TimeSpan():
            left_out["spans of time"] += 1
    return None


def _png(bitmap: np.ndarray) -> str:
    """(H, W) bool as a grey PNG of zeros and ones, the only ones that Labelbox takes for a binary mask."""
    file = io.BytesIO()
    Image.fromarray(bitmap.astype(np.uint8)).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
