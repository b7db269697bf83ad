"""Writes augmented manifests as SageMaker Ground Truth does, which Rekognition and Comprehend train from, too.

Reference: https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html (bounding box job output),
https://docs.aws.amazon.com/comprehend/latest/dg/cer-annotation-manifest.html (named entities).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC
from pathlib import Path

from models.types import Annotation, Box, Mask, Polygon, Task, TextSpan
from pipelines.formats.characters import clean, label_of, labels_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled, objects
from pipelines.formats.extents import extent, image_size_hw
from pipelines.formats.results import Result
from pipelines.formats.streams import Add, json_lines

TASKS: frozenset[Task] = frozenset({"detection", "segmentation", "ner"})

_ATTRIBUTE = "prelabel"  # the label attribute's name

Json = dict[str, object]


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write TASK.manifest for each task that occurs: a line of JSON for each object, without one for those that failed.

    An image's line has boxes in whole pixels, cut at its edges: ``left``, ``top``, ``width``, ``height``, with a
    ``class_id`` that counts all labels in alphabetical order; masks and polygons are written as the boxes around them.
    A text's line has entities from ``startOffset`` to before ``endOffset``, in Unicode code points, the labels by
    their names. ``confidence`` is the certainty. ``human-annotated`` is "no", ``type`` and ``job-name`` are as Ground
    Truth writes them, the job being the model, ``creation-date`` is when the pre-label was made.

    ``source-ref`` is the item's address, which AWS takes from S3 alone, or its id. Besides there are ``item-id``,
    ``route`` and ``score-kind`` ("confidence" if calibrated, else "score"), which AWS leaves as they are.
    """
    left_out = LeftOut()
    class_ids = {name: number for number, name in enumerate(labels_of(labels))}
    with ExitStack() as files:
        adders = dict[Task, Add]()
        for entry in labelled(entries, left_out):
            task = entry.result.task
            if task not in adders:
                adders[task] = files.enter_context(json_lines(out / f"{task}.manifest"))
            line = _of_text(entry, left_out) if task == "ner" else _of_image(entry, class_ids, left_out)
            if line:
                adders[task](line | _extras(entry))
    return left_out


def _of_image(entry: Exported, class_ids: Mapping[str, int], left_out: LeftOut) -> Json | None:
    result = entry.result
    size_hw = image_size_hw(result)
    if size_hw is None:  # which every line must state
        left_out["images of unknown size"] += 1
        return None
    boxes = [(a, box) for a, _ in objects(result) if (box := _box(a, left_out, size_hw=size_hw))]
    used = {label_of(annotation.label) for annotation, _ in boxes}
    height, width = size_hw
    return {
        "source-ref": name_of(entry.item.uri or entry.item.id),
        _ATTRIBUTE: {
            "image_size": [{"width": width, "height": height, "depth": 3}],
            "annotations": [{"class_id": class_ids[label_of(a.label)]} | box for a, box in boxes],
        },
        f"{_ATTRIBUTE}-metadata": {
            "objects": [{"confidence": certainty(annotation)[0]} for annotation, _ in boxes],
            "class-map": {str(number): name for name, number in class_ids.items() if name in used},
            "type": "groundtruth/object-detection",
        }
        | _made(result),
    }


def _box(annotation: Annotation, left_out: LeftOut, *, size_hw: tuple[int, int]) -> dict[str, int] | None:
    if not isinstance(annotation.geometry, (Box, Mask, Polygon)):
        left_out["labels of the whole image"] += 1
        return None
    height, width = size_hw
    x1, y1, x2, y2 = extent(annotation.geometry) or (0.0, 0.0, 0.0, 0.0)
    left, top = max(round(x1), 0), max(round(y1), 0)
    right, bottom = min(round(x2), width), min(round(y2), height)
    if left >= right or top >= bottom:
        left_out["shapes that take up no pixel of the image"] += 1
        return None
    if not isinstance(annotation.geometry, Box):
        left_out["outlines of objects that are written as boxes"] += 1
    return {"left": left, "top": top, "width": right - left, "height": bottom - top}


def _of_text(entry: Exported, left_out: LeftOut) -> Json | None:
    if entry.text is None:
        left_out["texts that are not known any more"] += 1
        return None
    spans = list(_spans(entry.result, left_out))
    used = sorted({label_of(annotation.label) for annotation, _ in spans})
    entities = [
        {"label": label_of(annotation.label), "startOffset": span.start, "endOffset": span.end}
        for annotation, span in spans
    ]
    return {
        "source": clean(entry.text),
        _ATTRIBUTE: {"annotations": {"entities": entities, "labels": [{"label": label} for label in used]}},
        f"{_ATTRIBUTE}-metadata": {
            "entities": [{"confidence": certainty(annotation)[0]} for annotation, _ in spans],
            "type": "groundtruth/text-span",
        }
        | _made(entry.result),
    }


def _spans(result: Result, left_out: LeftOut) -> Iterator[tuple[Annotation, TextSpan]]:
    for annotation, _ in objects(result):
        match annotation.geometry:
            case TextSpan(start=start, end=end) as span if start < end:
                yield annotation, span
            case TextSpan():
                left_out["spans without a character"] += 1
            case _:
                left_out["labels of the whole text"] += 1


def _made(result: Result) -> Json:
    made_by = result.provenance
    if made_by is None:
        return {"human-annotated": "no", "job-name": "labeling-job/prelabel"}
    return {
        "human-annotated": "no",
        "job-name": f"labeling-job/{made_by.model}-{made_by.model_version}",
        "creation-date": made_by.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f"),
    }


def _extras(entry: Exported) -> Json:
    result = entry.result
    kinds = sorted({certainty(annotation)[1] for annotation in result.annotations})
    return {
        "item-id": name_of(entry.item.id),
        "route": result.decision.route if result.decision else None,
        "score-kind": "/".join(kinds) or None,
    }
