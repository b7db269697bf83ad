"""Gives a result as supervision's ``Detections``.

Reference: supervision/detection/core.py, supervision 0.31. supervision is the caller's; the service does not depend on
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from models.errors import ConfigError, ItemError
from pipelines.formats.characters import label_of, labels_of
from pipelines.formats.extents import image_size_hw
from pipelines.formats.results import Result
from pipelines.formats.supervision import TASKS, Predictions, parts


def detections(result: Result, *, classes: Sequence[str] = ()) -> Any:
    """The objects in an image as ``sv.Detections``; nothing found is empty.

    ``confidence`` is the calibrated one, or the model's score where there is none: ``data["score_kind"]`` says which.
    ``data`` also has ``class_name``, ``annotation_id``, ``item_id`` and, for each named uncertainty of the item, a
    column like ``uncertainty_margin``, so that the detections of many images can be merged. If any object has an
    outline, all have a mask, which is empty for one that is known by its box alone. Labels of the whole image are left
    out.

    Args:
        result: of an image.
        classes: the labels in the order of their ``class_id``, for all images the same; what else occurs comes after
            them, in alphabetical order.

    Raises:
        ItemError: the item failed; the code is that of its failure.
        ConfigError: the result is not of an image, or supervision is not installed.
    """
    if result.task not in TASKS:
        raise ConfigError(
            f"task '{result.task}' finds no objects in images; give results of {', '.join(sorted(TASKS))}"
        )
    if result.error is not None:
        raise ItemError(result.error.code, result.error.message)
    class_ids = _class_ids(result, classes)
    found = [_detections(part, result) for part in parts(result, class_ids, Counter())]
    return found[0] if len(found) == 1 else _merged(*found)


def _class_ids(result: Result, classes: Sequence[str]) -> Mapping[str, int]:
    others = sorted({label_of(annotation.label) for annotation in result.annotations})
    return {name: number for number, name in enumerate(labels_of([*classes, *others]))}


def _detections(predictions: Predictions, result: Result) -> Any:
    supervision = _supervision()
    height, width = image_size_hw(result) or (0, 0)
    said = {"image": {"width": width, "height": height}, "predictions": predictions}
    found = supervision.Detections.from_inference(said)
    found.data |= {
        "annotation_id": np.array([one["detection_id"] for one in predictions], dtype=str),
        "score_kind": np.array([one["score_kind"] for one in predictions], dtype=str),
        "item_id": np.full(len(predictions), result.id),
        **{f"uncertainty_{name}": np.full(len(predictions), value) for name, value in result.uncertainty.items()},
    }
    return found


def _merged(outlined: Any, boxed: Any) -> Any:
    """Both as one, which takes a mask for every object."""
    boxed.mask = np.zeros((len(boxed), *outlined.mask.shape[1:]), dtype=bool)
    return _supervision().Detections.merge([outlined, boxed])


def _supervision() -> Any:
    try:
        return import_module("supervision")
    except ModuleNotFoundError as err:
        raise ConfigError(f"there is no {err.name} here; install supervision beside prelabel's client") from err
