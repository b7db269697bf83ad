"""Writes boxes, polygons, masks and labels as Datumaro's own JSON, format version 1.0.

Reference: datumaro/plugins/data_formats/datumaro/ (base.py reads, exporter.py writes), datumaro 1.13.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from models.types import Annotation, Box, Mask, Polygon, Task, WholeItem
from pipelines.formats.characters import clean, label_of, labels_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled, objects, safe_path
from pipelines.formats.extents import image_size_hw
from pipelines.formats.streams import Add, json_array

TASKS: frozenset[Task] = frozenset({"detection", "segmentation"})

_IMAGES = 2  # of datumaro's media types
_UNSAFE = re.compile(r"^/|:|(^|/)[. ]*(/|$)")  # what Datumaro refuses in an id: it may become a path


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write annotations/TASK.json: one Datumaro subset for each task, since an id is unique in its subset.

    Boxes are x, y, width, height, polygons flat lists, both in pixels as ours; masks are COCO run-length encodings.
    Every annotation has the attributes ``score`` (its certainty), ``score_kind`` ("confidence" if calibrated, else
    "score") and ``annotation_id``, besides its own; an item has its ``status``, its ``route`` and its ``uri``.

    An item's id is ours, suffix included, and so is its image's path below images/ or images/TASK/; one that leads out
    of a folder is written as ``safe_path`` writes it.
    """
    left_out = LeftOut()
    label_ids = {name: number for number, name in enumerate(labels_of(labels))}
    with ExitStack() as files:
        subsets = dict[str, Add]()
        for entry in labelled(entries, left_out):
            task = entry.result.task
            if task not in subsets:
                subsets[task] = _opened(files, out, task, label_ids)
            subsets[task](_item(entry, label_ids, left_out))
        if not subsets:
            _opened(files, out, "default", label_ids)
    return left_out


def _opened(files: ExitStack, out: Path, subset: str, label_ids: Iterable[str]) -> Add:
    (out / "annotations").mkdir(exist_ok=True)
    named = [{"name": name, "parent": "", "attributes": []} for name in label_ids]
    head = {
        "dm_format_version": "1.0",
        "media_type": _IMAGES,
        "infos": {},
        "categories": {"label": {"labels": named, "label_groups": [], "attributes": ["score", "score_kind"]}},
    }
    return files.enter_context(json_array(out / "annotations" / f"{subset}.json", key="items", head=head))


def _item(entry: Exported, label_ids: Mapping[str, int], left_out: LeftOut) -> dict[str, object]:
    result = entry.result
    name = name_of(result.id)
    name = safe_path(result.id).as_posix() if _UNSAFE.search(name) else name
    size_hw = image_size_hw(result)
    annotations = [
        {"id": number, "attributes": _attributes(annotation), "group": 0, "z_order": 0}
        | {"label_id": label_ids[label_of(annotation.label)]}
        | shape
        for number, (annotation, _) in enumerate(objects(result))
        if (shape := _shape(annotation, left_out))
    ]
    return {
        "id": name,
        "annotations": annotations,
        "attr": {
            "status": result.status,
            "route": result.decision.route if result.decision else None,
            "uri": clean(entry.item.uri) if entry.item.uri else None,
        },
        "image": {"path": name} | ({"size": list(size_hw)} if size_hw else {}),
    }


def _attributes(annotation: Annotation) -> dict[str, object]:
    score, kind = certainty(annotation)
    own = {
        clean(key): clean(value) if isinstance(value, str) else value for key, value in annotation.attributes.items()
    }
    text = {"text": clean(annotation.text)} if annotation.text is not None else {}
    return {**own, **text, "score": score, "score_kind": kind, "annotation_id": clean(annotation.id)}


def _shape(annotation: Annotation, left_out: LeftOut) -> dict[str, object] | None:
    match annotation.geometry:
        case Box(xyxy=(x1, y1, x2, y2)):
            return {"type": "bbox", "bbox": [x1, y1, x2 - x1, y2 - y1]}
        case Polygon(points_xy=points) if len(points) > 2:
            return {"type": "polygon", "points": [side for point in points for side in point]}
        case Polygon():
            left_out["polygons of fewer than three points"] += 1
        case Mask() as mask:
            return {"type": "mask", "rle": {"counts": mask.counts, "size": list(mask.size_hw)}}
        case WholeItem():
            return {"type": "label"}
        case _:
            left_out["labels that are not in an image"] += 1
    return None
