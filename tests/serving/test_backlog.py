"""Checks how long a backlog is said to take, and when a client is told to come again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.backlog import Backlog, retry_after_s


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_what_waits_takes_as_long_as_it_took_before() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    backlog.begin(40)

    clock.now_s += 5.0
    backlog.end(10, done=10)

    assert backlog.seconds() == pytest.approx(15.0)  # 30 wait, two a second


def test_nobody_knows_before_the_first_is_done() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    backlog.begin(3)

    clock.now_s += 5.0
    backlog.end(1, done=0)

    assert backlog.seconds() is None


def test_time_in_which_nothing_waited_does_not_count() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    backlog.begin(1)
    clock.now_s += 1.0
    backlog.end(1, done=1)
    clock.now_s += 3_600.0

    assert backlog.seconds() == 0.0
    backlog.begin(4)
    clock.now_s += 2.0
    backlog.end(2, done=2)
    assert backlog.seconds() == pytest.approx(2.0)


def test_only_what_was_done_lately_counts() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    backlog.begin(1_000)
    for step_s in [10.0] * 100 + [0.5] * 300:
        clock.now_s += step_s
        backlog.end(1, done=1)

    assert backlog.seconds() == pytest.approx(600 * 0.5)


@given(seconds=st.none() | st.floats(0, 1e9), draw=st.floats(0, 1, exclude_max=True))
def test_a_client_comes_again_within_a_minute_and_not_at_once(seconds: float | None, draw: float) -> None:
    told = retry_after_s(seconds, draw=draw)

    assert 1 <= told <= 60
    assert told >= min(seconds or 0, 48)


def test_clients_do_not_come_again_all_at_once() -> None:
    assert {retry_after_s(40.0, draw=draw / 10) for draw in range(10)} == set(range(40, 50))


def test_who_knows_nothing_says_a_second() -> None:
    assert retry_after_s(None, draw=0.9) == 1
