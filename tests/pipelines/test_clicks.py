"""Checks the way of somebody's clicks on one image through the flow to the demo's segmenter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest_asyncio
import torch

from models.card import read_card
from models.geometry import decode_mask
from models.jpeg_decoder import a_jpeg
from models.media import MediaLimits
from models.types import Item, Mask, PointPrompt, Prompts
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.local import LocalModels
from pipelines.policy import ThresholdPolicy
from pipelines.prelabel import Flow, Request, pre_label
from pipelines.reuse import SharedModels
from pipelines.tasks import TaskCard
from pipelines.types import Labelled, Outcome
from tests.models.adapters.vision import WEIGHTS, a_scene

CLICKS = ((30.0, 30.0), (60.0, 50.0), (20.0, 60.0))


@dataclass
class Saves:
    saved: list[Outcome] = field(default_factory=list)

    def check_room(self) -> None: ...

    async def save(self, outcomes: Sequence[Outcome], *, run_id: str | None, begin_by: float | None) -> list[Outcome]:
        self.saved += outcomes
        return list(outcomes)


@pytest_asyncio.fixture
async def flow(tmp_path: Path) -> AsyncIterator[Flow]:
    """The segmentation of the demo in this process; its detector would fail if it were asked."""
    card = replace(read_card(WEIGHTS / "segmentation" / "card.yaml"), min_score=0.0)
    models = LocalModels({card.name: card}, tmp_path / "none.lock", MediaLimits())
    async with Fetcher(FetchPolicy()) as fetcher:
        yield Flow(
            fetcher=fetcher,
            models=SharedModels(models),
            tasks={"segmentation": TaskCard(task="segmentation", models=("no-such-detector", card.name))},
            policies={"segmentation": ThresholdPolicy(queue="images", accept_score=0.5)},
            store=Saves(),
            clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        )
    await models.close()


def a_click(x: float, y: float) -> Request:
    prompts = Prompts(points=(PointPrompt(points_xy=((x, y),), is_foreground=(True,)),))
    data = a_jpeg(a_scene(2).image_rgb).data
    return Request(item=Item(id="a", media="image", data=data, prompts=prompts), task="segmentation")


def bitmaps(outcome: Outcome) -> list[np.ndarray]:
    assert isinstance(outcome, Labelled), outcome
    found = outcome.pre_label.prediction.annotations
    return [decode_mask(one.geometry) for one in found if isinstance(one.geometry, Mask)]


async def test_each_click_gets_its_own_mask_and_the_image_is_encoded_once(flow: Flow) -> None:
    await pre_label(a_click(10.0, 10.0), flow)  # loads the model, and warms it up
    passes = list[torch.Size]()

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        if type(module).__name__ == "ImageEncoderViT":
            passes.append(inputs[0].shape)

    handle = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        one_by_one = [await pre_label(a_click(*click), flow) for click in CLICKS]
        at_once = await asyncio.gather(*(pre_label(a_click(*click), flow) for click in CLICKS))
        other = replace(a_click(*CLICKS[0]).item, data=a_jpeg(a_scene(3).image_rgb).data)
        await pre_label(Request(item=other, task="segmentation"), flow)
    finally:
        handle.remove()

    assert len(passes) == 1  # of the other image: the first was known from its first click
    for alone, together in zip(one_by_one, at_once, strict=True):
        [mask], [same] = bitmaps(alone), bitmaps(together)
        assert np.array_equal(mask, same)
    [first], [second], [third] = map(bitmaps, one_by_one)
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
