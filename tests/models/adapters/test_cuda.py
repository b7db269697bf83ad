"""Checks on a CUDA device that the demo models say what they say on a CPU, alone and in any batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.adapter import Adapter, build_random, load
from models.card import ModelCard, Precision
from models.demo.evaluate_language import held_out_clips
from models.demo.sentences import held_out_texts
from models.types import Payload, Prediction, TextPayload
from serving.settings import load as load_settings
from tests.models.adapters.test_full_size import PAYLOADS
from tests.models.adapters.vision import WEIGHTS, a_boxed_picture, a_picture, demo_card, predict, random_batches

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

TORCH_TASKS = ("detection", "segmentation", "ner")
TASKS = (*TORCH_TASKS, "speech")
# What a score may be off from fp32 on a CPU: other kernels add in another order; half precision has 8 or 11 bits.
TOLERANCE: dict[Precision, float] = {"fp32": 2e-3, "fp16": 0.03, "bf16": 0.12}


def an_adapter(task: str, *, device: str, precision: Precision = "fp32") -> Adapter[Any, Any]:
    return load(replace(demo_card(task), device=device, precision=precision), WEIGHTS / task)


def payloads_of(task: str) -> list[Payload]:
    match task:
        case "detection":
            return [a_picture(number) for number in range(6)]
        case "segmentation":
            return [a_boxed_picture(number) for number in range(6)]
        case "ner":
            return [TextPayload(text=sentence.text) for sentence in held_out_texts("easy", n=6, seed=1)]
        case _:
            return [payload for payload, _ in held_out_clips("clean")[:6]]


def sure(prediction: Prediction) -> dict[str, float]:
    """Scores by id of the annotations that no rounding lets appear or vanish."""
    return {a.id: a.score for a in prediction.annotations if a.score > 0.7}


@pytest.mark.parametrize("precision", list(TOLERANCE))
@pytest.mark.parametrize("task", TORCH_TASKS)
def test_the_device_says_what_the_cpu_says(task: str, precision: Precision) -> None:
    payloads = payloads_of(task)
    on_cpu = predict(an_adapter(task, device="cpu"), payloads)
    adapter = an_adapter(task, device="cuda", precision=precision)

    on_device = predict(adapter, payloads)

    assert next(adapter._network.parameters()).is_cuda  # pyright: ignore[reportAttributeAccessIssue]
    for one, other in zip(on_device, on_cpu, strict=True):
        labels = {annotation.id: annotation.label for annotation in one.annotations}
        for annotation in other.annotations:
            if annotation.score > 0.8 and precision == "fp32":
                assert labels[annotation.id] == annotation.label
        scores = sorted(sure(one).values()), sorted(sure(other).values())
        if precision == "fp32":
            np.testing.assert_allclose(*scores, rtol=0.0, atol=TOLERANCE[precision])
        else:
            assert abs(np.mean(scores[0]) - np.mean(scores[1])) < TOLERANCE[precision]


@pytest.mark.parametrize("task", TASKS)
def test_an_item_scores_the_same_alone_and_in_any_batch(task: str) -> None:
    adapter, payloads = an_adapter(task, device="cuda"), payloads_of(task)
    alone = [predict(adapter, [payload])[0] for payload in payloads]

    for batch in random_batches(6, size=4, seed=3):
        together = predict(adapter, [payloads[index] for index in batch])
        for index, prediction in zip(batch, together, strict=True):
            assert [a.label for a in prediction.annotations] == [a.label for a in alone[index].annotations]
            scores = [[a.score for a in result.annotations] for result in (prediction, alone[index])]
            np.testing.assert_allclose(*scores, rtol=0.0, atol=1e-3)


@pytest.mark.full_size
@pytest.mark.timeout(300)
@pytest.mark.parametrize("card", load_settings("gpu").models, ids=lambda card: card.name)
def test_the_presets_networks_answer_in_their_own_precision(card: ModelCard) -> None:
    changes: dict[str, Any] = {"min_score": 0.0, "device": "cuda"}
    if card.task == "speech":
        changes["options"] = {"vad": False, "language": "en", "max_new_tokens": 8}
    adapter, payload = build_random(replace(card, **changes)), PAYLOADS[card.task]

    predictions = predict(adapter, [payload] * 4)

    assert len(predictions) == 4
    assert all(np.isfinite(list(prediction.signals.values())).all() for prediction in predictions)
