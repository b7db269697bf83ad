"""Decides when a call that got no answer of use is made again."""

from __future__ import annotations

from dataclasses import dataclass

from serving.client.trouble import Trouble

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often, and how long after each other, a call is made.

    The waits have full jitter: uniform between nothing and a bound that doubles each time (Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015), so that clients that were refused together do not come back
    together. What the service asks for by Retry-After is kept to, up to ``longest_asked_s``.
    """

    attempts: int = 4
    first_wait_s: float = 0.5
    longest_wait_s: float = 10.0
    longest_asked_s: float = 60.0

    def wait_s(
        self, trouble: Trouble, *, attempt: int, is_repeatable: bool, left_s: float, draw: float
    ) -> float | None:
        """How long to wait before the next attempt; None when there is none.

        Args:
            attempt: the number of the one that has failed, from 1.
            is_repeatable: doing it twice comes to the same as once.
            left_s: until the call must be done. A wait that would use it up is not begun.
            draw: a random number in [0, 1).
        """
        if not trouble.is_passing or not (is_repeatable or trouble.is_undone) or attempt >= self.attempts:
            return None
        bound = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
        wait = max(bound * draw, min(trouble.retry_after_s or 0.0, self.longest_asked_s))
        return wait if wait < left_s else None
