"""Checks that padded, recorded batches change no answer, with a recorder for the CPU; test_cuda.py has CUDA's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils import _pytree as trees

from models.adapter import load
from models.card import BatchLimits
from models.graphs import Graphs, graph_part
from models.types import Payload, TextPayload
from tests.models.adapters.vision import (
    WEIGHTS,
    a_boxed_picture,
    a_picture,
    assert_same,
    demo_adapter,
    demo_card,
    predict,
)
from tests.models.test_compiled import _scores, _spans

SENTENCES = ["Anna Keldson met Omar in Dalkville.", "It rained. " * 9, "Omar", "", "Ada Varga moved to Lisbon. " * 4]
TEXTS = [TextPayload(text=text) for text in SENTENCES]


class OnCpu:
    """A recorder that runs again, into the memory of the first run, as a graph does."""

    def __init__(self) -> None:
        self.recordings = 0
        self.replays = 0

    def __call__(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        self.recordings += 1
        outputs = run()

        def replay() -> None:
            self.replays += 1
            for own, found in zip(trees.tree_leaves(outputs), trees.tree_leaves(run()), strict=True):
                if isinstance(own, torch.Tensor):
                    own.copy_(found)

        return replay, outputs


def refuse(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    raise RuntimeError("operation not permitted when stream is capturing")


class Doubler:
    """Remembers how many rows it was given each time."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, numbers: torch.Tensor, *, extra: torch.Tensor | None = None) -> dict[str, Any]:
        self.rows.append(len(numbers))
        return {"twice": 2 * numbers if extra is None else 2 * numbers + extra, "note": "unchanged"}


def some_rows(rows: int, *, first: int = 0, width: int = 3) -> torch.Tensor:
    return torch.arange(first, first + rows * width, dtype=torch.float32).reshape(rows, width)


def test_batches_are_padded_to_few_sizes_and_cut_again() -> None:
    doubler, record = Doubler(), OnCpu()
    graphs = Graphs(doubler, (1, 2, 4, 6), record=record)

    for rows in (1, 2, 3, 4, 5, 6, 3, 5):
        found = graphs(some_rows(rows), extra=some_rows(rows))
        assert torch.equal(found["twice"], 3 * some_rows(rows))
        assert found["note"] == "unchanged"

    assert set(doubler.rows) == {1, 2, 4, 6}
    assert (record.recordings, record.replays) == (4, 8)


def test_an_answer_outlives_the_next_replay() -> None:
    graphs = Graphs(Doubler(), (2,), record=OnCpu())

    before = graphs(some_rows(2))["twice"]
    graphs(some_rows(2, first=100))

    assert torch.equal(before, 2 * some_rows(2))


def test_inputs_of_another_width_or_type_have_a_graph_of_their_own() -> None:
    record = OnCpu()
    graphs = Graphs(Doubler(), (2,), record=record)

    for numbers in (some_rows(2), some_rows(2, width=5), some_rows(2).double()):
        assert torch.equal(graphs(numbers)["twice"], 2 * numbers)

    assert record.recordings == 3


def test_large_batches_run_as_they_are() -> None:
    doubler, record = Doubler(), OnCpu()
    graphs = Graphs(doubler, (1, 2, 4), record=record, most_numbers=6)

    assert len(graphs(some_rows(5))["twice"]) == 5  # beyond the sizes
    assert len(graphs(some_rows(3))["twice"]) == 3  # 4 × 3 numbers are too many
    assert (doubler.rows, record.recordings) == ([5, 3], 0)
    assert [graphs.padded_rows(rows, numbers_each=1) for rows in (1, 3, 5)] == [1, 4, 5]
    assert graphs.padded_rows(3, numbers_each=3) == 3


def test_countless_shapes_are_not_all_recorded() -> None:
    record = OnCpu()
    graphs = Graphs(Doubler(), (1,), record=record)

    for width in range(1, 101):
        assert torch.equal(graphs(some_rows(1, width=width))["twice"], 2 * some_rows(1, width=width))

    assert record.recordings == 64


def test_what_cannot_be_recorded_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    doubler = Doubler()
    graphs = Graphs(doubler, (4,), record=refuse)

    found = [graphs(some_rows(3))["twice"] for _ in range(2)]

    assert all(torch.equal(own, 2 * some_rows(3)) for own in found)
    assert doubler.rows == [3, 3]
    assert [record.message for record in caplog.records] == [
        "batches of 4 are run without a graph: operation not permitted when stream is capturing"
    ]


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_a_padded_encoder_changes_no_answer(task: str) -> None:
    adapter: Any = demo_adapter(task)
    builder = a_picture if task == "detection" else a_boxed_picture
    payloads: list[Payload] = [builder(number) for number in range(5)]
    wanted, record = predict(adapter, payloads), OnCpu()

    part = adapter._network.model.backbone if task == "detection" else adapter._network.image_encoder
    graph_part(part, (1, 2, 4, 8), record=record)

    for count in (5, 3, 1):
        for found, own in zip(predict(adapter, payloads[:count]), wanted[:count], strict=True):
            assert_same(found, own)
    assert (record.recordings, record.replays) == (3, 3)


def test_padded_passes_change_no_entity() -> None:
    adapter: Any = demo_adapter("ner")
    wanted, record = predict(adapter, TEXTS), OnCpu()
    cost_before = adapter.padded_cost(adapter.prepare(TEXTS))

    adapter.record_graphs(record)

    for _ in range(2):
        for found, own in zip(predict(adapter, TEXTS), wanted, strict=True):
            assert _spans(found) == _spans(own)
            assert _scores(found) == pytest.approx(_scores(own), abs=1e-5)
    assert record.replays >= 2 * record.recordings > 0
    assert adapter.padded_cost(adapter.prepare(TEXTS)) > cost_before


def test_a_text_scores_the_same_alone_and_in_a_padded_pass() -> None:
    adapter: Any = demo_adapter("ner")
    adapter.record_graphs(OnCpu())
    together = predict(adapter, TEXTS)

    for text, found in zip(TEXTS, together, strict=True):
        [alone] = predict(adapter, [text])
        assert _spans(found) == _spans(alone)
        assert _scores(found) == pytest.approx(_scores(alone), abs=1e-5)


@pytest.mark.parametrize("task", ["detection", "segmentation", "ner"])
def test_on_a_cpu_the_option_is_ignored_and_said_so(task: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    card = demo_card(task)

    adapter: Any = load(replace(card, device="cpu", options=card.options | {"graphs": True}), WEIGHTS / task)

    assert not any(isinstance(vars(module).get("forward"), Graphs) for module in adapter._network.modules())
    assert "the option graphs changes nothing on a CPU" in caplog.text


def test_the_sizes_of_batches_end_with_the_largest_that_fits() -> None:
    limits = BatchLimits(max_items=32, max_cost=6.0)

    assert limits.batch_sizes(cost=0.5) == (1, 2, 4, 8, 12)
    assert limits.batch_sizes(cost=100.0) == (1,)
    assert limits.batch_sizes(cost=0.0) == (1, 2, 4, 8, 16, 32)
