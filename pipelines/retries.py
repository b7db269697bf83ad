"""Says which failures of a drop are tried again, and when."""

from __future__ import annotations

# What may be over in a moment: somebody was busy, slow or gone.
RETRYABLE = frozenset({"timeout", "unreachable", "overloaded", "out_of_memory", "device_lost", "worker_lost"})
MOST_ATTEMPTS = 4
_NEVER_GIVEN_UP = frozenset({"overloaded"})  # nobody waits for a drop, and others may fill a queue for hours
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_MOST_DOUBLINGS = 10


def wait_s(code: str, *, attempts: int) -> float | None:
    """How long to wait before an item is tried again after so many attempts; None if it is not."""
    if code not in RETRYABLE or (attempts >= MOST_ATTEMPTS and code not in _NEVER_GIVEN_UP):
        return None
    return min(_FIRST_WAIT_S * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS), _LONGEST_WAIT_S)
