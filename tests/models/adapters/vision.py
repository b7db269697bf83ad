"""Builds what the tests of vision adapters share: pictures, predictions, the demo's cards and booby-trapped pickles."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter

import models.demo
from models.adapter import Adapter, load
from models.card import ModelCard
from models.demo.scenes import HELD_OUT_SEEDS, Part, Scene, scene
from models.geometry import decode_mask, mask_iou
from models.types import Annotation, Box, BoxPrompt, ImagePayload, Mask, Payload, Prediction, Prompts

WEIGHTS = Path(models.demo.__file__).parent / "weights"


def a_scene(number: int, *, part: Part = "easy") -> Scene:
    """A held-out scene of varying size with at least two objects."""
    seeds = iter(HELD_OUT_SEEDS[1_000 * number : 1_000 * (number + 1)])
    return next(drawn for seed in seeds if len((drawn := scene(seed, part)).labels) > 1)


def a_picture(number: int, *, part: Part = "easy") -> ImagePayload:
    return ImagePayload(image_rgb=a_scene(number, part=part).image_rgb)


def a_boxed_picture(number: int) -> ImagePayload:
    """A scene with its true boxes as prompts."""
    drawn = a_scene(number)
    boxes = enumerate(zip(drawn.boxes_xyxy.tolist(), drawn.labels, strict=True))
    prompts = tuple(BoxPrompt(xyxy=tuple(box), label=label, parent_id=str(index)) for index, (box, label) in boxes)
    return ImagePayload(image_rgb=drawn.image_rgb, prompts=Prompts(boxes=prompts))


def demo_card(task: str) -> ModelCard:
    return TypeAdapter(ModelCard).validate_python(yaml.safe_load((WEIGHTS / task / "card.yaml").read_text("utf-8")))


def demo_adapter(task: str) -> Adapter[Any, Any]:
    return load(demo_card(task), WEIGHTS / task)


def predict(adapter: Adapter[Any, Any], payloads: Sequence[Payload]) -> list[Prediction]:
    return adapter.read(adapter.forward(adapter.prepare(payloads)), payloads)


def random_batches(count: int, *, size: int, seed: int) -> list[list[int]]:
    """Three random batches of the numbers below ``count``, so that each number meets other neighbours."""
    rng = np.random.default_rng(seed)
    return [rng.choice(count, size=size, replace=False).tolist() for _ in range(3)]


def assert_same(prediction: Prediction, alone: Prediction) -> None:
    """The same annotations: label, score within 1e-3, box within half a pixel, mask within a hundredth.

    They come in the order of their scores; of two that score alike either may be first.
    """
    assert len(prediction.annotations) == len(alone.annotations)
    left = list(alone.annotations)
    for found in prediction.annotations:
        twin = next((other for other in left if is_same(found, other)), None)
        assert twin is not None, f"{found} is nowhere in {left[:3]} …"
        left.remove(twin)


def is_same(one: Annotation, other: Annotation) -> bool:
    if one.label != other.label or abs(one.score - other.score) > 1e-3:
        return False
    match one.geometry, other.geometry:
        case Box(xyxy=corners), Box(xyxy=other_corners):
            return float(np.abs(np.subtract(corners, other_corners)).max()) <= 0.5
        case Mask() as mask, Mask() as other_mask:
            return mask_iou(decode_mask(mask), decode_mask(other_mask)) > 0.99
        case geometry:
            raise AssertionError(f"{geometry} cannot be compared")


class _Trap:
    """Makes the folder ``path`` when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._path),)


def write_trap(path: Path) -> Path:
    """A pickle at ``path``; the returned folder exists once somebody has unpickled it."""
    sprung = path.parent / "sprung"
    path.write_bytes(pickle.dumps(_Trap(sprung), protocol=2))  # torch's own protocol
    return sprung
