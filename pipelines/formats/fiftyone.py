"""Writes images with their labels as a FiftyOne dataset on disk (``fiftyone.types.FiftyOneDataset``).

Reference: https://docs.voxel51.com/user_guide/import_datasets.html#fiftyonedataset; FiftyOneDatasetImporter in
fiftyone/utils/data/importers.py and fiftyone/core/labels.py, fiftyone 1.22 (and read by 1.0).
"""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from models.geometry import decode_mask, mask_box
from models.types import Annotation, Box, Item, Mask, Polygon, Task, WholeItem
from pipelines.formats.addresses import local_path
from pipelines.formats.characters import clean, label_of, labels_of, name_of, to_bytes
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled, objects
from pipelines.formats.extents import image_size_hw
from pipelines.formats.fiftyone_schema import dataset_document
from pipelines.formats.results import Result
from pipelines.formats.streams import Add, json_array, to_json

TASKS: frozenset[Task] = frozenset({"detection", "segmentation"})

Json = dict[str, object]

# Where a shape lies, by the kind of list that its image holds it in; the list's field, and what its name ends in.
_LISTS = {"Detections": ("detections", ""), "Polylines": ("polylines", "_polygons")}
_LISTS["Classifications"] = ("classifications", "_labels")


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write TASK/metadata.json and TASK/samples.json for each task that occurs.

    ``fiftyone.Dataset.from_dir(TASK, dataset_type=fiftyone.types.FiftyOneDataset, rel_dir=DROP)`` reads them. A sample
    has its boxes and masks in the field TASK (``Detections``), polygons in TASK_polygons (filled ``Polylines``), labels
    of the whole image in TASK_labels (``Classifications``); places are relative to the image's sides, a mask is its
    box's part of the bitmap. ``confidence`` is the certainty, ``score_kind`` says whether it is a calibrated
    "confidence" or the model's "score". ``route`` (also a tag), ``status``, ``item_id`` and ``uri`` are fields of the
    sample. Nothing found is an empty list.

    ``filepath`` is the file on this machine; for other addresses it is the item's id, below ``rel_dir``.
    """
    left_out = LeftOut()
    with ExitStack() as files:
        adders = dict[Task, Add]()
        for number, entry in enumerate(labelled(entries, left_out)):
            task = entry.result.task
            if task not in adders:
                (out / task).mkdir(exist_ok=True)
                document = to_json(dataset_document(task, classes=labels_of(labels)))
                (out / task / "metadata.json").write_text(document + "\n", encoding="utf-8", newline="\n")
                adders[task] = files.enter_context(json_array(out / task / "samples.json", key="samples"))
            adders[task](_sample(entry, number, left_out))
    return left_out


def _sample(entry: Exported, number: int, left_out: LeftOut) -> Json:
    result = entry.result
    route = result.decision.route if result.decision else None
    size_hw = image_size_hw(result)
    digest = hashlib.sha256(to_bytes(f"{number}\0{result.id}")).digest()
    return {
        "_id": {"$oid": digest[:12].hex()},
        "_media_type": "image",
        "_rand": int.from_bytes(digest[12:18], "big") / 2**48,  # FiftyOne draws samples by it
        "filepath": _file(entry.item),
        "tags": [route] if route else [],
        "metadata": {"_cls": "ImageMetadata", "width": size_hw[1], "height": size_hw[0]} if size_hw else None,
        "item_id": name_of(result.id),
        "uri": clean(entry.item.uri) if entry.item.uri else None,
        "status": result.status,
        "route": route,
        **_lists(entry, digest, left_out),
    }


def _file(item: Item) -> str:
    path = local_path(item.uri or "")
    return name_of(path if path and path.startswith("/") else item.id)


def _lists(entry: Exported, digest: bytes, left_out: LeftOut) -> Json:
    found: dict[str, list[Json]] = {kind: [] for kind in _LISTS}
    for kind, label in labels_of_sample(entry.result, left_out):
        identity = hashlib.sha256(digest + str(sum(map(len, found.values()))).encode()).digest()[:12]
        written = {name: _binary(value) if isinstance(value, np.ndarray) else value for name, value in label.items()}
        found[kind].append({"_id": {"$oid": identity.hex()}, "_cls": kind.removesuffix("s"), "tags": []} | written)
    task = entry.result.task
    return {f"{task}{suffix}": {"_cls": kind, field: found[kind]} for kind, (field, suffix) in _LISTS.items()}


def labels_of_sample(result: Result, left_out: LeftOut) -> Iterator[tuple[str, Json]]:
    """What FiftyOne's label classes take for each object, with the class of the list that it belongs in.

    A mask is an (h, w) bool array, its box's part of the bitmap.
    """
    size_hw = image_size_hw(result)
    for annotation, _ in objects(result):
        score, score_kind = certainty(annotation)
        named = {"label": label_of(annotation.label), "confidence": score, "score_kind": score_kind}
        if isinstance(annotation.geometry, WholeItem):
            yield "Classifications", named
        elif size_hw is None:
            left_out["shapes in images of unknown size"] += 1
        elif shape := _shape(annotation, size_hw=size_hw):
            kind, place = shape
            yield kind, named | place
        else:
            left_out["polygons of fewer than three points, and masks without a pixel"] += 1


def _shape(annotation: Annotation, *, size_hw: tuple[int, int]) -> tuple[str, Json] | None:
    height, width = size_hw
    match annotation.geometry:
        case Box(xyxy=xyxy):
            return "Detections", {"bounding_box": _relative(xyxy, size_hw=size_hw)}
        case Mask() as mask:
            bitmap = decode_mask(mask)
            box = mask_box(bitmap)
            if box is None:
                return None
            left, top, right, bottom = map(int, box)
            part = np.ascontiguousarray(bitmap[top:bottom, left:right])
            return "Detections", {"bounding_box": _relative(box, size_hw=size_hw), "mask": part}
        case Polygon(points_xy=points) if len(points) > 2:
            ring = [[x / width, y / height] for x, y in points]
            return "Polylines", {"points": [ring], "closed": True, "filled": True}
        case _:
            return None


def _relative(xyxy: tuple[float, float, float, float], *, size_hw: tuple[int, int]) -> list[float]:
    x1, y1, x2, y2 = xyxy
    height, width = size_hw
    return [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]


def _binary(bitmap: np.ndarray) -> Json:
    """An (h, w) bool array as FiftyOne keeps arrays: numpy's own file format, by zlib, as BSON's binary in JSON."""
    file = io.BytesIO()
    np.save(file, bitmap, allow_pickle=False)
    data = base64.b64encode(zlib.compress(file.getvalue())).decode("ascii")
    return {"$binary": {"base64": data, "subType": "00"}}
