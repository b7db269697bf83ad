"""Reads lines of JSON as detections with supervision."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = False  # compiled once, it loads in a third of the time

import numpy as np  # noqa: E402
import supervision as sv  # noqa: E402


def read(path):
    with Path(path).open(encoding="utf-8") as lines:
        return [as_json(sv.Detections.from_inference(json.loads(line))) for line in lines]


def as_json(detections):
    return {
        "xyxy": detections.xyxy.tolist(),
        "confidence": None if detections.confidence is None else detections.confidence.tolist(),
        "class_id": None if detections.class_id is None else detections.class_id.tolist(),
        "class_name": detections.data["class_name"].tolist(),
        "rows": None if detections.mask is None else [np.packbits(mask).tolist() for mask in detections.mask],
    }
