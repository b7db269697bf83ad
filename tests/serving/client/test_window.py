"""Tests that a bounded number of calls is in flight, in order."""

from __future__ import annotations

from concurrent.futures import Future

from serving.client.window import Window


class Starts:
    """Starts futures that are done when a test says so."""

    def __init__(self) -> None:
        self.begun: list[Future[int]] = []

    def __call__(self, batch: int) -> Future[int]:
        self.begun.append(Future())
        self.begun[-1].set_result(batch) if batch % 2 else None
        return self.begun[-1]


def test_the_calls_come_in_order_and_no_more_than_may_be_are_begun() -> None:
    starts = Starts()
    calls = Window(starts, most=3).over(range(10))

    for expected in range(10):
        call = next(calls)

        assert call is starts.begun[expected]
        assert len(starts.begun) == min(expected + 3, 10)
    assert next(calls, None) is None


def test_what_nobody_waits_for_any_more_is_cancelled_the_one_in_hand_too() -> None:
    starts = Starts()
    window = Window(starts, most=3)
    next(window.over([0, 2, 4, 6]))

    cancelled = window.cancel()

    assert cancelled == starts.begun
    assert [call.cancelled() for call in starts.begun] == [True, True, True]
    assert window.cancel() == []
