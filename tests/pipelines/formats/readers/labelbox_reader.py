"""Reads NDJSON with the types of Labelbox's own SDK."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = False  # compiled once, it loads in a third of the time

import numpy as np  # noqa: E402
from labelbox.data.annotation_types import Label, Mask, Polygon, Rectangle, TextEntity  # noqa: E402
from labelbox.data.annotation_types.data import GenericDataRowData  # noqa: E402
from labelbox.data.serialization import NDJsonConverter  # noqa: E402
from labelbox.data.serialization.ndjson.objects import NDMask, NDObject, NDPolygon, NDRectangle, NDTextEntity  # noqa: E402

_TYPES = {"bbox": NDRectangle, "polygon": NDPolygon, "mask": NDMask, "location": NDTextEntity}


def read(path):
    with Path(path).open(encoding="utf-8") as lines:
        return [as_json(json.loads(line)) for line in lines]


def as_json(line):
    (kind,) = _TYPES.keys() & line.keys()
    parsed = _TYPES[kind].model_validate(line)
    annotation = NDObject.to_common(parsed)
    label = Label(data=GenericDataRowData(global_key=parsed.data_row.global_key), annotations=[annotation])
    (again,) = NDJsonConverter.serialize([label])
    return {
        "uuid": parsed.uuid,
        "global_key": parsed.data_row.global_key,
        "name": annotation.name,
        "confidence": annotation.confidence,
        "again": {key: again[key] for key in (kind,)},
        **shape_of(annotation.value),
    }


def shape_of(value):
    match value:
        case Rectangle():
            return {"xyxy": [value.start.x, value.start.y, value.end.x, value.end.y]}
        case Polygon():
            return {"points": [[point.x, point.y] for point in value.points]}
        case Mask():
            bitmap = (value.mask.value == value.color).all(axis=-1)
            return {"size_hw": list(bitmap.shape), "rows": np.packbits(bitmap).tolist()}
        case TextEntity():
            return {"start": value.start, "end": value.end}
