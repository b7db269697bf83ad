"""Checks how two arms are compared."""

from __future__ import annotations

import pytest

from benchmarks.ratio import Direction, Ratio, interleaved


def a_ratio(ours: list[float], peer: list[float], *, bar: float, direction: Direction = "at_least") -> Ratio:
    return Ratio(
        name="x",
        ours="ours",
        peer="theirs",
        unit="items/s",
        ours_values=tuple(ours),
        peer_values=tuple(peer),
        bar=bar,
        aim=bar,
        direction=direction,
        details={},
    )


def test_arms_take_turns_and_warm_up_is_left_out() -> None:
    order: list[str] = []
    values = iter(range(100))

    def arm(name: str) -> float:
        order.append(name)
        return next(values)

    ours, peer = interleaved(lambda: arm("ours"), lambda: arm("peer"), rounds=2, warm_up=1)

    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert ours == (3, 4)
    assert peer == (2, 5)


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
