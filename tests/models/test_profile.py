"""Checks that the proposed batch pays and fits its budget, and what ends the search for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import profile
from models.errors import ModelError
from models.profile import BatchMemory, Bounds, gpu_share, largest_cost, recommended
from models.types import Payload, Prediction

MIB = 2**20
PLENTY = Bounds(budget_bytes=10**12, seconds=1e9, most_items=64)


def on_a_line(*, alone: int, each: int, items: tuple[int, ...] = (1, 4, 16)) -> list[BatchMemory]:
    return [BatchMemory(items=count, cost=float(count), peak_bytes=alone + each * count) for count in items]


def with_rates(rates: dict[int, float], *, each: int = MIB) -> list[BatchMemory]:
    """Batches of items that cost 1 each, on a model of 100 MiB."""
    return [
        BatchMemory(items=count, cost=float(count), peak_bytes=100 * MIB + each * count, items_per_s=rate)
        for count, rate in rates.items()
    ]


@dataclass(frozen=True)
class Sample:
    cost: float = 1.0


@dataclass
class Counter:
    """Counts its batches and moves a clock by a second for each item; from ``most_items`` on, memory is full."""

    most_items: int = 10**6
    now_s: float = 0.0
    batches: list[int] = field(default_factory=list)

    def prepare(self, payloads: Sequence[Payload]) -> list[Sample]:
        return [Sample() for _ in payloads]

    def forward(self, batch: Sequence[Sample]) -> int:
        if len(batch) > self.most_items:
            raise RuntimeError("CUDA out of memory")
        self.now_s += len(batch)
        self.batches.append(len(batch))
        return len(batch)

    def read(self, raw: int, payloads: Sequence[Payload]) -> list[Prediction]:
        return [Prediction() for _ in payloads]

    def in_use(self) -> int:
        return 100

    def peak(self, call: Callable[[], object]) -> int:
        call()
        return 100 + 10 * self.batches[-1]

    def context_bytes(self) -> int:
        return 0


def sizes(counter: Counter, bounds: Bounds) -> list[int]:
    """How many items the batches had that were measured."""
    measured = profile.measure(counter, [Sample()], gauge=counter, bounds=bounds, clock=lambda: counter.now_s)
    return [batch.items for batch in measured]


@given(alone=st.integers(0, 10**9), each=st.integers(10**3, 10**8), room=st.integers(10**9, 10**11))
def test_the_largest_batch_takes_nine_tenths_of_its_budget(alone: int, each: int, room: int) -> None:
    budget_bytes = 2 * alone + room

    cost = largest_cost(on_a_line(alone=alone, each=each), budget_bytes=budget_bytes)

    assert alone + each * cost == pytest.approx(0.9 * budget_bytes, rel=1e-6)


def test_a_model_that_fills_the_budget_alone_is_told() -> None:
    with pytest.raises(ModelError, match="the model alone takes 100 MiB"):
        largest_cost(on_a_line(alone=100 * MIB, each=1000), budget_bytes=90 * MIB)


def test_one_size_says_nothing_of_growth() -> None:
    with pytest.raises(ModelError, match="two sizes"):
        largest_cost(on_a_line(alone=1, each=1, items=(4,)), budget_bytes=100)


def test_memory_never_counts_as_shrinking() -> None:
    assert largest_cost(on_a_line(alone=10**6, each=-5), budget_bytes=10**9) == float("inf")


def test_batches_double_and_their_memory_and_speed_are_known() -> None:
    counter = Counter()

    measured = profile.measure(counter, [Sample()], gauge=counter, bounds=PLENTY, clock=lambda: counter.now_s)

    assert [batch.items for batch in measured] == [1, 2, 4, 8, 16, 32, 64]
    assert [batch.peak_bytes for batch in measured] == [100 + 10 * batch.items for batch in measured]
    assert {batch.items_per_s for batch in measured} == {1.0}


def test_measuring_ends_where_memory_does() -> None:
    assert sizes(Counter(most_items=3), PLENTY) == [1, 2]


def test_a_batch_that_would_exceed_the_budget_does_not_run() -> None:
    counter = Counter()

    assert sizes(counter, Bounds(budget_bytes=200, seconds=1e9)) == [1, 2, 4, 8]  # 16 would need 260
    assert max(counter.batches) == 8


def test_a_batch_that_would_take_too_long_does_not_run() -> None:
    assert sizes(Counter(), Bounds(budget_bytes=10**12, seconds=70.0)) == [1, 2, 4, 8]  # 60 s until then


def test_two_sizes_run_whatever_the_bounds() -> None:
    assert sizes(Counter(), Bounds(budget_bytes=0, seconds=0.0, most_items=1)) == [1, 2]


def test_an_error_that_is_not_about_memory_is_not_swallowed() -> None:
    class Broken(Counter):
        def forward(self, batch: Sequence[Sample]) -> int:
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        sizes(Broken(), PLENTY)


def test_the_smallest_batch_that_runs_about_as_fast_as_any_is_recommended() -> None:
    measured = with_rates({1: 10.0, 2: 19.0, 4: 36.0, 8: 60.0, 16: 62.0, 32: 63.0})

    advice = recommended(measured, budget_bytes=1000 * MIB, median_cost=1.0)

    assert (advice.max_items, advice.max_cost) == (8, 8.0)
    assert advice.needed_bytes == pytest.approx((100 + 8) * MIB / 0.9, rel=1e-6)


def test_a_batch_that_pays_but_does_not_fit_is_cut_down() -> None:
    measured = with_rates({1: 10.0, 2: 20.0, 4: 40.0, 8: 80.0})

    advice = recommended(measured, budget_bytes=115 * MIB, median_cost=1.0)  # 103.5 MiB of it

    assert advice.max_items == 3
    assert advice.needed_bytes == pytest.approx(115 * MIB, rel=1e-6)


def test_what_cuda_takes_for_itself_counts_against_the_budget() -> None:
    measured = with_rates({1: 10.0, 2: 20.0, 4: 40.0, 8: 80.0})

    advice = recommended(measured, budget_bytes=165 * MIB, median_cost=1.0, overhead_bytes=50 * MIB)

    assert advice.max_items == 3
    assert advice.needed_bytes == pytest.approx(165 * MIB, rel=1e-6)


def test_small_items_may_fill_the_cost_of_large_ones() -> None:
    measured = with_rates({1: 10.0, 2: 20.0, 4: 40.0, 8: 80.0})

    assert recommended(measured, budget_bytes=1000 * MIB, median_cost=0.25).max_items == 32


def test_an_item_that_does_not_fit_is_told() -> None:
    with pytest.raises(ModelError, match="no item fits"):
        recommended(with_rates({1: 1.0, 2: 1.0}, each=100 * MIB), budget_bytes=200 * MIB, median_cost=1.0)


def test_a_batch_of_equal_items_keeps_its_last_one() -> None:
    each = 0.4096  # of which 32 add up to a little more or less, by the order
    measured = [
        BatchMemory(items=n, cost=n * each, peak_bytes=MIB * n, items_per_s=float(n)) for n in (1, 2, 4, 8, 16, 32)
    ]

    advice = recommended(measured, budget_bytes=1000 * MIB, median_cost=each)

    assert advice.max_items == 32
    assert sum([each] * 32) <= advice.max_cost <= 1.001 * 32 * each


@pytest.mark.parametrize(
    ("needed", "share"), [(0, 0.0), (100, 0.1), (101, 0.11), (999, 1.0), (5000, 1.0), (float("inf"), 1.0)]
)
def test_a_share_is_rounded_up_to_a_hundredth_and_is_a_whole_device_at_most(needed: float, share: float) -> None:
    assert gpu_share(needed, device_bytes=1000) == share
