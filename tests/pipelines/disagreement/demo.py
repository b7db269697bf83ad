"""Answers with the demo's own networks, one item at a time, and draws what they are asked about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from models.adapter import Adapter, load
from models.card import ModelCard, read_card
from models.demo.scenes import HELD_OUT_SEEDS, Part, Scene, scene
from models.demo.train import WEIGHTS
from models.media import decode
from models.types import BoxPrompt, Content, Prediction, Priority, Prompts


def card_of(task: str) -> ModelCard:
    return read_card(WEIGHTS / task / "card.yaml")


@cache
def adapter_of(task: str) -> Adapter[Any, Any]:
    return load(card_of(task), WEIGHTS / task)


@dataclass
class DemoModels:
    """The deployed models, by name; what they were asked is kept."""

    adapters: dict[str, Adapter[Any, Any]]
    asked: list[tuple[str, Content]] = field(default_factory=list)

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.asked.append((model, content))
        return predict(self.adapters[model], content)


def predict(adapter: Adapter[Any, Any], content: Content) -> Prediction:
    payloads = [decode(content)]
    return adapter.read(adapter.forward(adapter.prepare(payloads)), payloads)[0]


def scenes(part: Part, *, count: int) -> list[Scene]:
    """Held-out scenes with something in them."""
    drawn: Iterable[Scene] = (scene(seed, part) for seed in HELD_OUT_SEEDS)
    return list(islice((one for one in drawn if len(one.labels)), count))


def content_of(image_rgb: np.ndarray, *, prompts: Prompts = Prompts()) -> Content:
    file = BytesIO()
    Image.fromarray(image_rgb).save(file, format="PNG", compress_level=1)
    return Content(media="image", data=file.getvalue(), prompts=prompts)


def true_boxes(drawn: Scene) -> Prompts:
    rows = enumerate(zip(drawn.boxes_xyxy.tolist(), drawn.labels, strict=True))
    return Prompts(boxes=tuple(BoxPrompt(xyxy=tuple(xyxy), label=label, parent_id=str(n)) for n, (xyxy, label) in rows))
