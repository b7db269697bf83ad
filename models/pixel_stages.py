"""Splits what an image processor of Hugging Face does: a CPU resizes bytes, the device turns them into numbers.

Bytes are a quarter of the numbers, so that a batch of 32 images of 640 × 640 pixels is copied in a millisecond. The
arithmetic is the processor's own in either place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_PROBE_HW = (37, 53)


def resized_bytes(processor: Any, image_rgb: np.ndarray | torch.Tensor) -> torch.Tensor:
    """One uint8 image at the network's size: (3, h, w) uint8.

    Args:
        processor: one that ``can_be_split``.
        image_rgb: (H, W, 3) as an array, or (3, H, W) as a tensor wherever it lies; there it is resized, too.
    """
    order = "channels_first" if isinstance(image_rgb, torch.Tensor) else "channels_last"
    ready = processor(
        images=[image_rgb], do_rescale=False, do_normalize=False, return_tensors="pt", input_data_format=order
    )
    return ready["pixel_values"][0]


def fixed_size_hw(processor: Any) -> tuple[int, int] | None:
    """The size that the processor gives every image; None if it differs between images."""
    probes = (np.zeros((*size_hw, 3), dtype=np.uint8) for size_hw in (_PROBE_HW, _PROBE_HW[::-1]))
    one, other = (tuple(resized_bytes(processor, probe).shape[1:]) for probe in probes)
    return (one[0], one[1]) if one == other else None


def as_numbers(processor: Any, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, h, w) uint8, wherever they lie, as the float32 that the network takes."""
    mean, std = (value if value is None else tuple(value) for value in (processor.image_mean, processor.image_std))
    return processor.rescale_and_normalize(
        pixels, processor.do_rescale, processor.rescale_factor, processor.do_normalize, mean, std
    )


def can_be_split(processor: Any) -> bool:
    """Whether both stages together give an image the numbers that the processor gives it; not if it also pads."""
    image_rgb = np.random.default_rng(0).integers(0, 256, (*_PROBE_HW, 3), dtype=np.uint8)
    whole = processor(images=[image_rgb], return_tensors="pt", input_data_format="channels_last")
    if whole.keys() != {"pixel_values"} or not hasattr(processor, "rescale_and_normalize"):
        return False
    pixels = resized_bytes(processor, image_rgb)
    return pixels.dtype == torch.uint8 and torch.equal(as_numbers(processor, pixels[None]), whole["pixel_values"])
