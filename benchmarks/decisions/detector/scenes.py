"""Draws scenes in processes of their own, and serves them as the items that the demo's detector labels."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from io import BytesIO

import numpy as np
from PIL import Image

from models.demo.scenes import HELD_OUT_SEEDS, Part, scene
from models.types import Annotation, Box, Content, Item

PARTS: tuple[Part, ...] = ("easy", "hard", "out_of_domain")

# Evaluation takes its held-out seeds from the start, tests few thousands from there, the sample drop from the middle.
FIRST_SEED = HELD_OUT_SEEDS.start + 600_000


def items(n: int, *, after: int = 0) -> list[Item]:
    """Items of n scenes of each part, each with its part as its ``source``; part by part, by rising seed.

    Args:
        after: how many scenes of each part to leave out first.
    """
    seeds = range(FIRST_SEED + after, FIRST_SEED + after + n)
    return [
        Item(id=f"{part}-{seed}", media="image", uri=f"scene:{part}/{seed}", meta={"source": part})
        for part in PARTS
        for seed in seeds
    ]


class Drawings:
    """Draws an item's scene when it is fetched, and keeps the truth about it.

    Attributes:
        truths: by item's id, the objects of its scene, those of unknown shapes included.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.truths: dict[str, tuple[Annotation, ...]] = {}

    async def fetch(self, item: Item) -> Content:
        part, seed = _named(item)
        loop = asyncio.get_running_loop()
        data, boxes_xyxy, labels = await loop.run_in_executor(self._executor, drawn, part, seed)
        self.truths[item.id] = _truth(boxes_xyxy, labels)
        return Content(media="image", data=data)


def drawn(part: Part, seed: int) -> tuple[bytes, np.ndarray, tuple[str, ...]]:
    """A scene as a PNG, its (n, 4) boxes in pixels, and their labels."""
    one, file = scene(seed, part), BytesIO()
    Image.fromarray(one.image_rgb).save(file, "PNG", compress_level=0)  # it goes no further than the next process
    return file.getvalue(), one.boxes_xyxy, one.labels


def _named(item: Item) -> tuple[Part, int]:
    name, _, seed = (item.uri or "").removeprefix("scene:").partition("/")
    return next(part for part in PARTS if part == name), int(seed)


def _truth(boxes_xyxy: np.ndarray, labels: Sequence[str]) -> tuple[Annotation, ...]:
    return tuple(
        Annotation(id=str(number), label=label, score=1.0, geometry=Box(xyxy=(x1, y1, x2, y2)))
        for number, (label, (x1, y1, x2, y2)) in enumerate(zip(labels, boxes_xyxy.tolist(), strict=True))
    )
