"""Checks the arrivals of an open loop."""

from __future__ import annotations

import pytest

from benchmarks.arrivals import Load


def test_the_same_seed_gives_the_same_arrivals_and_another_gives_others() -> None:
    load = Load(rate=200.0, seconds=10.0, seed=1)

    assert load.times() == Load(rate=200.0, seconds=10.0, seed=1).times()
    assert load.times() != Load(rate=200.0, seconds=10.0, seed=2).times()


def test_arrivals_are_ordered_within_the_time_and_come_at_the_rate() -> None:
    times = Load(rate=200.0, seconds=10.0, seed=1).times()

    assert times == sorted(times)
    assert times[0] > 0.0 and times[-1] < 10.0
    assert len(times) == pytest.approx(2_000, rel=0.1)
