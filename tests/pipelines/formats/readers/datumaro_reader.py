"""Reads datasets with datumaro: its own JSON, and CVAT's XML."""

import sys

sys.dont_write_bytecode = False  # compiled once, it loads in a third of the time

import numpy as np  # noqa: E402
from datumaro.components.annotation import AnnotationType  # noqa: E402
from datumaro.components.dataset import Dataset  # noqa: E402
from pycocotools import mask as coco_mask  # noqa: E402


def read(path, format):
    dataset = Dataset.import_from(path, format)
    labels = [label.name for label in dataset.categories()[AnnotationType.label]]
    return {"labels": labels, "items": [as_json(item, labels) for item in dataset]}


def as_json(item, labels):
    return {
        "id": item.id,
        "subset": item.subset,
        "attributes": item.attributes,
        "path": item.media.path if item.media else None,
        "size_hw": item.media.size if item.media and item.media.has_size else None,
        "annotations": [annotation_as_json(annotation, labels) for annotation in item.annotations],
    }


def annotation_as_json(annotation, labels):
    found = {
        "type": annotation.type.name,
        "label": None if annotation.label is None else labels[annotation.label],
        "attributes": annotation.attributes,
    }
    if found["type"] == "mask":
        rle = coco_mask.encode(np.asfortranarray(annotation.image, dtype=np.uint8))
        return found | {"size_hw": rle["size"], "counts": rle["counts"].decode()}
    if found["type"] == "label":
        return found
    return found | {"points": list(annotation.points)}
