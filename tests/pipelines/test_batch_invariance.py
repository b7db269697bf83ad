"""Checks that an item's labels and scores do not depend on what else is in its batch, for every demo task."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from models.adapter import Adapter, load
from models.media import decode
from models.types import (
    MEDIA_OF_TASK,
    Annotation,
    AudioPayload,
    Content,
    ImagePayload,
    Payload,
    Prediction,
    Task,
    TextPayload,
)
from pipelines.tasks import chained, prompts_from
from serving.demo import DROP
from serving.settings import load as load_settings

SETTINGS = load_settings("demo")
BATCHES = 20
TOLERANCE = 1e-3
BAD = ("truncated.jpg", "bomb.png", "login_page.jpg", "latin1.txt", "not_a_number.wav", "playlist.wav")


@cache
def the_adapter(model: str) -> Adapter[Any, Any]:
    card = SETTINGS.cards[model]
    return load(card, Path(card.weights))


@cache
def payloads_of(task: Task) -> list[Payload]:
    files = [file for file in sorted((DROP / task).iterdir()) if file.name not in BAD]
    return [decode(Content(media=MEDIA_OF_TASK[task], data=file.read_bytes())) for file in files]


def run_model(model: str, batch: Sequence[Payload]) -> list[Prediction]:
    adapter = the_adapter(model)
    return adapter.read(adapter.forward(adapter.prepare(batch)), batch)


def label(task: Task, batch: Sequence[Payload]) -> list[Prediction]:
    """The whole batch through the task's models, each in one forward pass, as it is published."""
    first, *rest = SETTINGS.tasks[task]
    predictions = run_model(first, batch)
    for model in rest:
        prompted = [n for n, prediction in enumerate(predictions) if prediction.annotations]
        images = [with_prompts(batch[n], predictions[n]) for n in prompted]
        for n, answer in zip(prompted, run_model(model, images), strict=True):
            predictions[n] = chained(predictions[n], answer)
    return [published(task, payload, prediction) for payload, prediction in zip(batch, predictions, strict=True)]


def published(task: Task, payload: Payload, prediction: Prediction) -> Prediction:
    size_hw = payload.size_hw if isinstance(payload, ImagePayload) else None
    duration_s = payload.duration_s if isinstance(payload, AudioPayload) else None
    text = payload.text if isinstance(payload, TextPayload) else None
    measured = replace(prediction, size_hw=size_hw, duration_s=duration_s)
    return SETTINGS.standards.publish(measured, task=task, text=text).prediction


def with_prompts(payload: Payload, prediction: Prediction) -> Payload:
    assert isinstance(payload, ImagePayload)
    return replace(payload, prompts=prompts_from(prediction))


def what(annotation: Annotation) -> tuple[str, str, str | None, str | None]:
    return annotation.id, annotation.label, annotation.text, annotation.parent_id


def assert_same(prediction: Prediction, alone: Prediction) -> None:
    assert [what(a) for a in prediction.annotations] == [what(a) for a in alone.annotations]
    for one, other in zip(alone.annotations, prediction.annotations, strict=True):
        assert abs(one.score - other.score) <= TOLERANCE
    assert prediction.signals == pytest.approx(alone.signals, abs=TOLERANCE)


@pytest.mark.parametrize("task", list(MEDIA_OF_TASK))
def test_an_item_gets_the_same_labels_and_scores_alone_and_in_any_batch(task: Task) -> None:
    rng = random.Random(7)
    payloads = payloads_of(task)
    target, alone = next(
        (payload, answer)
        for payload in rng.sample(payloads, len(payloads))
        if len((answer := label(task, [payload])[0]).annotations) > 1
    )

    for _ in range(BATCHES):
        others = rng.sample(payloads, rng.randint(1, 4))
        place = rng.randint(0, len(others))
        together = label(task, [*others[:place], target, *others[place:]])[place]

        assert_same(together, alone)


@pytest.mark.parametrize("task", list(MEDIA_OF_TASK))
def test_the_comparison_can_fail(task: Task) -> None:
    """It tells one item from another, and a score from one that is off by twice what is allowed."""
    one, other, *_ = [prediction for prediction in label(task, payloads_of(task)[:6]) if prediction.annotations]
    first, *rest = one.annotations
    off = replace(one, annotations=(replace(first, score=first.score - 2 * TOLERANCE), *rest))

    assert_same(one, one)
    for different in (other, off):
        with pytest.raises(AssertionError):
            assert_same(different, one)
