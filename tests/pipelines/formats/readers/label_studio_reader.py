"""Judges and reads Label Studio tasks with label-studio-sdk."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = False  # compiled once, it loads in a third of the time

import numpy as np  # noqa: E402
from label_studio_sdk.converter.brush import decode_rle, encode_rle, mask2rle  # noqa: E402
from label_studio_sdk.converter.utils import create_tokens_and_tags  # noqa: E402
from label_studio_sdk.label_interface import LabelInterface  # noqa: E402


def read(folder=None, bitmap=None, pixels=None, config=None, predictions=()):
    if bitmap is not None:
        return mask2rle(np.array(bitmap, dtype=np.uint8) * 255)
    if pixels is not None:
        values = np.array(pixels, dtype=np.uint8)
        return encode_rle((values if values.ndim == 3 else values[..., None].repeat(4, axis=2)).ravel())
    if config is not None:
        return judged(LabelInterface(config), predictions)
    interface = LabelInterface(Path(folder, "label_config.xml").read_text(encoding="utf-8"))
    interface.validate()
    tasks = json.loads(Path(folder, "tasks.json").read_bytes())
    return {
        "labels": {control.name: list(control.labels or []) for control in interface.controls},
        "tasks": [as_json(task, interface) for task in tasks],
    }


def judged(interface, predictions):
    """What its validation finds wrong with each prediction, and how it reads the interface."""
    interface.validate()
    return {
        "errors": [interface.validate_prediction(found, return_errors=True) for found in predictions],
        "labels": {control.name: list(control.labels or []) for control in interface.controls},
        "sources": {source.name: source.value_name for source in interface.objects},
    }


def as_json(task, interface):
    assert interface.validate_task({"data": task["data"]})  # with predictions it fails, whatever they are
    return {
        "data": task["data"],
        "errors": [interface.validate_prediction(found, return_errors=True) for found in task["predictions"]],
        "predictions": task["predictions"],
        "bitmaps": [bitmap_of(region) for found in task["predictions"] for region in found["result"]],
        "tags": [tags_of(task["data"], found["result"]) for found in task["predictions"] if "text" in task["data"]],
    }


def bitmap_of(region):
    """The mask of a brush stroke, eight pixels a number."""
    if region["type"] != "brushlabels":
        return None
    size = region["original_height"], region["original_width"], 4
    channels = decode_rle(region["value"]["rle"]).reshape(size)
    assert set(np.unique(channels)) <= {0, 255} and (channels == channels[..., :1]).all()
    return np.packbits(channels[..., 3] > 0).tolist()


def tags_of(data, result):
    """Tokens and their tags, as its export to CoNLL makes them."""
    return create_tokens_and_tags(data["text"], [region["value"] for region in result if region["type"] == "labels"])
