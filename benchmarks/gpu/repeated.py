"""Times a call again and again."""

from __future__ import annotations

import time
from collections.abc import Callable


def repeated(call: Callable[[], object], *, least_s: float, most: int = 200) -> list[float]:
    """Seconds of each call: one, or with ``least_s`` three of them, and more until that is reached."""
    seconds = list[float]()
    fewest = 3 if least_s else 1
    while len(seconds) < fewest or (sum(seconds) < least_s and len(seconds) < most):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return seconds
