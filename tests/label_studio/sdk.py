"""Judges predictions with the library of Label Studio's makers; runs in Label Studio's environment."""

import numpy as np
from label_studio_sdk.converter.brush import decode_rle  # pyright: ignore[reportMissingImports]
from label_studio_sdk.label_interface import LabelInterface  # pyright: ignore[reportMissingImports]


def read(config, predictions):
    """What its validation finds wrong with each prediction, and the mask of each brush region, packed to bytes."""
    interface = LabelInterface(config)
    return {
        "errors": [interface.validate_prediction(found, return_errors=True) for found in predictions],
        "masks": [[_mask(region) for region in found["result"] if "rle" in region["value"]] for found in predictions],
    }


def _mask(region):
    size = region["original_height"], region["original_width"]
    alpha = decode_rle(region["value"]["rle"]).reshape(*size, 4)[..., 3]
    return {"size_hw": size, "packed": np.packbits(alpha > 0).tobytes().hex()}
