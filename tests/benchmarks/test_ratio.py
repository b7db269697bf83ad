"""Checks how two arms are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.ratio import Direction, Ratio, Rounds, interleaved
from benchmarks.stolen import ProcessorTime


def a_ratio(ours: list[float], peer: list[float], *, bar: float, direction: Direction = "at_least") -> Ratio:
    return Ratio(
        name="x",
        ours="ours",
        peer="theirs",
        unit="items/s",
        rounds=Rounds(ours=tuple(ours), peer=tuple(peer)),
        bar=bar,
        aim=bar,
        direction=direction,
        details={},
    )


def nothing_stolen() -> ProcessorTime:
    return ProcessorTime(used_s=0.0, stolen_s=0.0)


def stolen_in_turn(*shares: float) -> Callable[[], ProcessorTime]:
    """A kernel's count, asked before and after each round, of which these shares were stolen."""
    used_s = stolen_s = 0.0

    def counts() -> Iterator[ProcessorTime]:
        nonlocal used_s, stolen_s
        for share in shares:
            yield ProcessorTime(used_s=used_s, stolen_s=stolen_s)
            used_s, stolen_s = used_s + 100.0 * (1.0 - share), stolen_s + 100.0 * share
            yield ProcessorTime(used_s=used_s, stolen_s=stolen_s)

    return counts().__next__


def test_arms_take_turns_and_warm_up_is_left_out() -> None:
    order: list[str] = []
    values = iter(range(100))

    def arm(name: str) -> float:
        order.append(name)
        return next(values)

    measured = interleaved(lambda: arm("ours"), lambda: arm("peer"), rounds=2, warm_up=1, processor_time=nothing_stolen)

    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert measured == Rounds(ours=(3, 4), peer=(2, 5), stolen=(0.0, 0.0), left_out=0)


def test_a_round_that_lost_its_processors_is_measured_again() -> None:
    values = iter(range(100))
    clock = stolen_in_turn(0.0, 0.5, 0.05)

    measured = interleaved(lambda: next(values), lambda: 1.0, rounds=2, warm_up=0, processor_time=clock)

    assert measured == Rounds(ours=(0, 2), peer=(1.0, 1.0), stolen=(0.0, 0.05), left_out=1)


def test_where_every_round_loses_processors_those_that_lost_least_count() -> None:
    values = iter(range(100))
    clock = stolen_in_turn(0.6, 0.3, 0.5, 0.2, 0.9, 0.4)

    measured = interleaved(lambda: next(values), lambda: 1.0, rounds=2, warm_up=0, processor_time=clock)

    assert measured == Rounds(ours=(1, 3), peer=(1.0, 1.0), stolen=(0.3, 0.2), left_out=4)


def test_a_ratio_is_taken_round_by_round() -> None:
    # The machine was twice as fast in the second round; the ratio of medians would say 1.0.
    ratio = a_ratio([10.0, 20.0, 10.0], [5.0, 10.0, 20.0], bar=1.5)

    assert (ratio.median, ratio.low, ratio.high) == (2.0, 0.5, 2.0)
    assert ratio.met


@pytest.mark.parametrize(("direction", "met"), [("at_least", False), ("at_most", True)])
def test_the_bar_of_a_latency_is_an_upper_one(direction: Direction, met: bool) -> None:
    assert a_ratio([0.5], [1.0], bar=1.0, direction=direction).met is met


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        interleaved(lambda: 1.0, lambda: 1.0, rounds=0)
