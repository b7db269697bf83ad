"""Builds the networks of the gpu preset at full size with random weights and puts one item through each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.adapter import build_random
from models.card import ModelCard
from models.types import MEDIA_OF_TASK, Annotation, AudioPayload, Mask, Payload, TextPayload
from serving.settings import load
from tests.models.adapters.vision import a_boxed_picture, a_picture, predict

CARDS = load("gpu").models
PAYLOADS: dict[str, Payload] = {
    "detection": a_picture(0),
    "segmentation": a_boxed_picture(0),
    "ner": TextPayload(text="Ada Varga moved from Lisbon to the Cedar Institute on 3 May 2021."),
    "speech": AudioPayload(samples=np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)),
}
COSTS = {"detection": 0.64 * 0.64, "segmentation": 1.024**2, "speech": 30.0}


def on_this_cpu(card: ModelCard) -> ModelCard:
    """The preset's card, with nothing held back; Whisper in int8 and for four tokens, or it would take minutes."""
    card = replace(card, device="cpu", min_score=0.0, num_cpus=2.0)
    if card.task != "speech":
        return card
    options = {"vad": False, "language": "en", "max_new_tokens": 4, "beam_size": 1}
    return replace(card, precision="int8", options=options)


@pytest.mark.full_size
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_full_size_network_answers_one_item(card: ModelCard) -> None:
    adapter, payload = build_random(on_this_cpu(card)), PAYLOADS[card.task]

    [sample] = adapter.prepare([payload])
    [prediction] = predict(adapter, [payload])

    assert sample.cost == pytest.approx(COSTS.get(card.task, sample.cost))
    assert prediction.signals
    assert np.isfinite(list(prediction.signals.values())).all()
    assert all(0.0 <= annotation.score <= 1.0 for annotation in prediction.annotations)
    assert prediction.annotations or card.task == "speech"  # random weights find something everywhere but in noise
    assert all(is_of(annotation, payload) for annotation in prediction.annotations)


def is_of(annotation: Annotation, payload: Payload) -> bool:
    image = getattr(payload, "image_rgb", None)
    return not isinstance(annotation.geometry, Mask) or image is None or annotation.geometry.size_hw == image.shape[:2]


def test_the_preset_has_a_model_for_every_task() -> None:
    assert {card.task for card in CARDS} == MEDIA_OF_TASK.keys()
