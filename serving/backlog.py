"""Tells how long what is asked of something will take, from how fast it got done lately."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

_MARKS = 256
_LEAST_S, _MOST_S = 1, 60
_SPREAD = 0.25


class Backlog:
    """What was asked and is not done yet; the time is measured from when there last was nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.waiting = 0
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MARKS)  # when, and how much was done then

    def begin(self, count: int) -> None:
        if not self.waiting:
            self._marks = deque([(self._clock(), 0)], maxlen=_MARKS)
        self.waiting += count

    def end(self, count: int, *, done: int) -> None:
        """``count`` of those begun are gone, ``done`` of them by being done, the others were refused or failed."""
        self.waiting -= count
        if done:
            self._marks.append((self._clock(), done))

    def seconds(self) -> float | None:
        """How long what waits will take; None while nothing has been done yet."""
        if not self.waiting:
            return 0.0
        done = sum(count for _, count in list(self._marks)[1:])
        return self.waiting * (self._clock() - self._marks[0][0]) / done if done else None


def retry_after_s(seconds: float | None, *, draw: float) -> int:
    """When to come again: whole seconds from 1 to 60, spread by a quarter so that not all come at once.

    Args:
        seconds: until there is likely room; None where nobody knows, which gives the least.
        draw: a random number in [0, 1).
    """
    spread = 1.0 + _SPREAD * draw
    most = _MOST_S / (1.0 + _SPREAD)
    return max(_LEAST_S, math.ceil(min(seconds or 0.0, most) * spread))
