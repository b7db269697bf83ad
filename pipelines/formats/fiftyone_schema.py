"""Describes the fields of a FiftyOne dataset as its database document does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.types import Task

Json = dict[str, object]

# The oldest version of FiftyOne that this document is one of; newer ones migrate it when they read it.
VERSION = "1.0.0"

_LABEL: dict[str, str | tuple[str, str]] = {
    "id": "ObjectId",
    "tags": ("List", "String"),
    "label": "String",
    "confidence": "Float",
    "score_kind": "String",
}
_LABELS: dict[str, Mapping[str, str | tuple[str, str]]] = {
    "Detection": {**_LABEL, "bounding_box": ("List", "Float"), "mask": "Array", "mask_path": "String", "index": "Int"},
    "Polyline": {**_LABEL, "points": "PolylinePoints", "index": "Int", "closed": "Boolean", "filled": "Boolean"},
    "Classification": {**_LABEL, "logits": "Vector"},
}
_SAMPLE: dict[str, str | tuple[str, str]] = {
    "id": "ObjectId",
    "filepath": "String",
    "tags": ("List", "String"),
    "created_at": "DateTime",
    "last_modified_at": "DateTime",
    "_media_type": "String",
    "_rand": "Float",
    "_dataset_id": "ObjectId",
    "item_id": "String",
    "uri": "String",
    "status": "String",
    "route": "String",
}
_METADATA = {"size_bytes": "Int", "mime_type": "String", "width": "Int", "height": "Int", "num_channels": "Int"}
_READ_ONLY = frozenset({"created_at", "last_modified_at"})


def dataset_document(task: Task, *, classes: Sequence[str]) -> Json:
    """What metadata.json holds: the dataset's document without its samples."""
    lists = [
        _list(task, "Detection", "detections"),
        _list(f"{task}_polygons", "Polyline", "polylines"),
        _list(f"{task}_labels", "Classification", "classifications"),
    ]
    return {
        "name": "prelabel",
        "version": VERSION,
        "media_type": "image",
        "info": {"description": "Pre-labels made by models, not by people"},
        "classes": {field["name"]: list(classes) for field in lists},
        "sample_fields": [*map(_field, _SAMPLE, _SAMPLE.values()), _metadata(), *lists],
        "frame_fields": [],
    }


def _field(name: str, type: str | tuple[str, str], *, document: str | None = None, fields: Sequence[Json] = ()) -> Json:
    outer, inner = type if isinstance(type, tuple) else (type, None)
    return {
        "name": name,
        "ftype": f"fiftyone.core.fields.{outer}Field",
        "subfield": f"fiftyone.core.fields.{inner}Field" if inner else None,
        "embedded_doc_type": document,
        "db_field": "_id" if name == "id" else name,
        "fields": list(fields),
        "description": None,
        "info": None,
        "read_only": name in _READ_ONLY,
    }


def _metadata() -> Json:
    fields = [_field(name, type) for name, type in _METADATA.items()]
    return _field("metadata", "EmbeddedDocument", document="fiftyone.core.metadata.ImageMetadata", fields=fields)


def _list(name: str, label: str, field: str) -> Json:
    """A field that holds labels of one type in a list of their own."""
    own = [_field(one, type) for one, type in _LABELS[label].items()]
    labels = "fiftyone.core.labels."
    inner = _field(field, ("List", "EmbeddedDocument"), document=labels + label, fields=own)
    return _field(name, "EmbeddedDocument", document=f"{labels}{label}s", fields=[inner])
