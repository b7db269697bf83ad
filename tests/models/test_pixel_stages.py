"""Checks that an image processor in two stages gives the numbers that it gives in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import DetrImageProcessor, RTDetrImageProcessor

from models.pixel_stages import as_numbers, can_be_split, resized_bytes

SIZE = {"height": 64, "width": 48}


@pytest.mark.parametrize("settings", [{}, {"do_normalize": True}, {"do_rescale": False}])
def test_two_stages_give_the_numbers_of_one(settings: dict[str, Any]) -> None:
    processor = RTDetrImageProcessor(size=SIZE, **settings)
    image_rgb = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)

    pixels = resized_bytes(processor, image_rgb)

    whole = processor(images=[image_rgb], return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    assert (pixels.shape, pixels.dtype) == ((3, 64, 48), torch.uint8)
    assert torch.equal(as_numbers(processor, pixels[None]), whole)


def test_a_processor_that_resizes_to_one_size_can_be_split() -> None:
    assert can_be_split(RTDetrImageProcessor(size=SIZE))


def test_a_processor_that_pads_cannot_be_split() -> None:
    assert not can_be_split(DetrImageProcessor())
