"""Checks that the proposed batch fits its budget, and that memory is measured at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import profile
from models.errors import ModelError
from models.profile import BatchMemory, largest_cost
from models.types import TextPayload
from tests.models.adapters.vision import demo_adapter


def on_a_line(*, alone: int, each: int, items: tuple[int, ...] = (1, 4, 16)) -> list[BatchMemory]:
    return [BatchMemory(items=count, cost=float(count), peak_bytes=alone + each * count) for count in items]


@given(alone=st.integers(0, 10**9), each=st.integers(10**3, 10**8), room=st.integers(10**9, 10**11))
def test_the_largest_batch_takes_nine_tenths_of_its_budget(alone: int, each: int, room: int) -> None:
    budget_bytes = 2 * alone + room

    cost = largest_cost(on_a_line(alone=alone, each=each), budget_bytes=budget_bytes)

    assert alone + each * cost == pytest.approx(0.9 * budget_bytes, rel=1e-6)


def test_a_model_that_fills_the_budget_alone_is_told() -> None:
    with pytest.raises(ModelError, match="the model alone takes 100 MiB"):
        largest_cost(on_a_line(alone=100 * 2**20, each=1000), budget_bytes=90 * 2**20)


def test_one_size_says_nothing_of_growth() -> None:
    with pytest.raises(ModelError, match="two sizes"):
        largest_cost(on_a_line(alone=1, each=1, items=(4,)), budget_bytes=100)


def test_memory_never_counts_as_shrinking() -> None:
    assert largest_cost(on_a_line(alone=10**6, each=-5), budget_bytes=10**9) == float("inf")


def test_batches_of_each_size_are_measured_smallest_first() -> None:
    adapter = demo_adapter("ner")
    samples = adapter.prepare([TextPayload(text="Anna Keldson lives in Dalkville."), TextPayload(text="Hi")])

    measured = profile.measure(adapter, samples, sizes=(4, 1), is_torch_on_cuda=False)

    assert [batch.items for batch in measured] == [1, 4]
    assert measured[0].cost < measured[1].cost
    assert 0 < measured[0].peak_bytes <= measured[1].peak_bytes


def test_measuring_ends_where_memory_does() -> None:
    class Small:
        """Has room for three."""

        def prepare(self, payloads: object) -> list[object]:
            raise NotImplementedError

        def forward(self, batch: list[object]) -> None:
            if len(batch) > 3:
                raise RuntimeError("CUDA out of memory")

        def read(self, raw: object, payloads: object) -> list[object]:
            raise NotImplementedError

    samples = demo_adapter("ner").prepare([TextPayload(text="Hi")])

    measured = profile.measure(Small(), samples, sizes=(1, 2, 4, 8), is_torch_on_cuda=False)  # pyright: ignore[reportArgumentType]

    assert [batch.items for batch in measured] == [1, 2]
