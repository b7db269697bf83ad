"""Tests when a failure is tried again."""

from __future__ import annotations

from pipelines.retries import MOST_ATTEMPTS, wait_s


def test_the_waits_grow_and_what_keeps_failing_is_given_up() -> None:
    waits = [wait_s("timeout", attempts=attempts) for attempts in range(1, MOST_ATTEMPTS + 1)]

    assert waits == [1.0, 2.0, 4.0, None]
    assert wait_s("unreadable_image", attempts=1) is None


def test_a_full_queue_is_waited_for_as_long_as_it_takes() -> None:
    assert [wait_s("overloaded", attempts=attempts) for attempts in (1, 4, 7, 10_000)] == [1.0, 8.0, 60.0, 60.0]
