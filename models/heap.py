"""Gives memory that this process has freed back to the system."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

# Batches of changing sizes leave holes between what is kept, and glibc gives none back by itself: under two minutes of
# random batches of 1 to 32 images on one core, the demo's detector grew from 825 to 1,200 MiB, of which 300 were free
# (glibc 2.36, torch 2.15). A call took 10 to 40 ms, in which only who allocates from the same arena waits. Fewer arenas
# did not help; an mmap of each large tensor did, and cost a fifth of the throughput.
_EVERY_S = 5.0


class Trims:
    """Takes turns to trim, five seconds apart; not safe to share between threads without a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last_s = clock, clock()

    def take(self) -> bool:
        """Whether a turn was due, which is taken by asking: the next is due five seconds from now."""
        now = self._clock()
        if now - self._last_s < _EVERY_S:
            return False
        self._last_s = now
        return True


def trim() -> None:
    """Have the C library give back every free page; nothing where it has no such call (glibc has)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
