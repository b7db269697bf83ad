"""Checks that a second model disagrees with the first more where items are hard, and never with its own twin."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from models.adapter import Adapter, load
from models.adapters import faster_whisper
from models.card import ModelCard
from models.demo.evaluate_language import held_out_clips
from models.demo.scenes import Part
from models.demo.sentences import held_out_texts
from models.demo.train import WEIGHTS
from models.types import Annotation, Box, Content, Prediction, Task
from pipelines.disagreement.second_model import SecondModel
from tests.pipelines.disagreement.demo import DemoModels, adapter_of, card_of, content_of, predict, scenes, true_boxes


def another(task: Task) -> Adapter[Any, Any]:
    """A model like the demo's: its weights a few percent off, or for speech a search that goes another way."""
    if task == "speech":
        card = card_of(task)
        wider = ModelCard(
            **{name: getattr(card, name) for name in ("name", "task", "adapter", "weights", "min_score")},
            options=card.options | {"beam_size": 5},
        )
        return faster_whisper.load(wider, WEIGHTS / task)
    adapter = load(card_of(task), WEIGHTS / task)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter._network.parameters():  # pyright: ignore[reportAttributeAccessIssue]
            parameter += 0.06 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=noise)
    return adapter


def contents(task: Task, part: str, *, count: int) -> list[Content]:
    if task == "ner":
        known: dict[str, Part] = {"easy": "easy", "hard": "hard"}
        texts = held_out_texts(known[part], n=count, seed=1)
        return [Content(media="text", data=sentence.text.encode()) for sentence in texts]
    if task == "speech":
        return [wav(payload.samples) for payload, _ in held_out_clips({"easy": "clean", "hard": "noisy"}[part])[:count]]
    drawn = scenes("easy" if part == "easy" else "hard", count=count)
    is_prompted = task == "segmentation"
    return [
        content_of(one.image_rgb, prompts=true_boxes(one)) if is_prompted else content_of(one.image_rgb)
        for one in drawn
    ]


def wav(samples: np.ndarray) -> Content:
    file = BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype="FLOAT")
    return Content(media="audio", data=file.getvalue())


async def disagreement(task: Task, second: Adapter[Any, Any], items: list[Content]) -> float:
    models = DemoModels({"second": second})
    measure = SecondModel(task=task, model="second").measure
    found = [
        await measure(item, predict(adapter_of(task), item), models, priority="bulk", deadline_s=None) for item in items
    ]
    assert all(own.keys() == {"second_model"} and 0.0 <= own["second_model"] <= 1.0 for own in found)
    return float(np.mean([own["second_model"] for own in found]))


@pytest.mark.parametrize("task", ["detection", "segmentation", "ner", "speech"])
async def test_two_models_disagree_more_on_hard_items_than_on_easy_ones_and_one_not_with_itself(task: Task) -> None:
    count = {"detection": 8, "segmentation": 6, "ner": 24, "speech": 16}[task]
    easy, hard = (contents(task, part, count=count) for part in ("easy", "hard"))
    second = another(task)

    apart = [await disagreement(task, second, items) for items in (easy, hard)]

    assert apart[1] > apart[0] + 0.02
    assert await disagreement(task, adapter_of(task), hard[:4]) == pytest.approx(0.0, abs=1e-9)


async def test_a_second_segmenter_is_asked_about_the_boxes_of_the_first_ones_detector() -> None:
    box = Annotation(id="b", label="circle", geometry=Box(xyxy=(5.0, 5.0, 30.0, 30.0)), score=0.9)
    models = DemoModels({"second": adapter_of("segmentation")})
    content = content_of(np.zeros((60, 60, 3), np.uint8))

    await SecondModel(task="segmentation", model="second").measure(
        content, Prediction(annotations=(box,)), models, priority="bulk", deadline_s=None
    )

    [(_, asked)] = models.asked
    assert [prompt.xyxy for prompt in asked.prompts.boxes] == [(5.0, 5.0, 30.0, 30.0)]
