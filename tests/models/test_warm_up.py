"""Checks that a model runs once before it serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.adapter import HasExample, load
from models.card import BatchLimits, ModelCard, read_card
from models.errors import ModelError
from models.types import EncodedJpeg, Payload
from models.warm_up import example, warm_up
from tests.models.test_engine import Echo

WEIGHTS = Path(__file__).parents[2] / "models" / "demo" / "weights"
A_CARD = ModelCard(name="echo", task="ner", adapter="token_classification", weights="unused")
EIGHT_TO_A_BATCH = BatchLimits(max_items=100, max_cost=8.9 * 93)


class Recorder:
    """Another adapter that remembers what it was given to prepare."""

    def __init__(self, adapter: Any) -> None:
        self._adapter, self.decodes_jpegs = adapter, adapter.decodes_jpegs
        self.forward, self.read = adapter.forward, adapter.read
        self.prepared: list[Payload] = []

    def prepare(self, payloads: Sequence[Payload]) -> list[Any]:
        self.prepared += payloads
        return self._adapter.prepare(payloads)


def an_echo() -> Echo:
    adapter = Echo()
    adapter.gate.set()
    return adapter


@pytest.mark.parametrize("name", ["detection", "segmentation", "ner", "speech"])
def test_every_demo_model_takes_its_example(name: str) -> None:
    card = read_card(WEIGHTS / name / "card.yaml")

    warm_up(load(card, WEIGHTS / name), card)


@pytest.mark.parametrize(("num_gpus", "sizes"), [(0.0, [1]), (0.5, [1, 2, 4, 8])])
def test_a_gpu_is_warmed_up_for_every_size_of_batch_within_the_limits(num_gpus: float, sizes: list[int]) -> None:
    adapter = an_echo()

    warm_up(adapter, replace(A_CARD, num_gpus=num_gpus, limits=EIGHT_TO_A_BATCH))

    assert [len(batch) for batch in adapter.batches] == sizes


def test_a_compiled_network_is_built_for_one_two_and_any_number() -> None:
    adapter = an_echo()

    warm_up(adapter, replace(A_CARD, options={"compile": True}))

    assert [len(batch) for batch in adapter.batches] == [1, 2, 3]


def test_a_model_that_decodes_jpegs_is_given_one() -> None:
    card = read_card(WEIGHTS / "detection" / "card.yaml")
    card = replace(card, options=card.options | {"decode_on_device": True})
    adapter = Recorder(load(card, WEIGHTS / "detection"))

    warm_up(adapter, card)

    assert [type(payload) for payload in adapter.prepared] == [EncodedJpeg]


def test_speech_hears_a_window_of_its_own() -> None:
    card = read_card(WEIGHTS / "speech" / "card.yaml")
    adapter = load(card, WEIGHTS / "speech")

    assert isinstance(adapter, HasExample)
    assert adapter.prepare([example(card)])[0].cost == 0.0  # voice detection hears nobody in the hum
    assert len(adapter.forward([adapter.example()]).transcripts) == 1


def test_a_model_that_cannot_run_here_says_so_before_it_serves() -> None:
    adapter = an_echo()
    adapter.fault = "no kernel image is available"

    with pytest.raises(ModelError, match="'echo' failed on its first item: RuntimeError: no kernel image") as failure:
        warm_up(adapter, A_CARD)

    assert failure.value.code == "warm_up_failed"
