"""Reads Pascal VOC datasets with datumaro, which counts pixels from 1 where it is told to."""

from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset


def read(path):
    dataset = Dataset.import_from(path, "voc_detection", coordinate_mode="voc-one-based")
    labels = dataset.categories()[AnnotationType.label]
    return {
        "labels": [label.name for label in labels],
        "items": {item.id: [_object(annotation, labels) for annotation in item.annotations] for item in dataset},
        "sizes": {item.id: item.media.size for item in dataset if item.media},
    }


def _object(annotation, labels):
    xyxy = list(annotation.points)
    return {"label": labels[annotation.label].name, "xyxy": xyxy, "attributes": annotation.attributes}
