"""Says how long to wait before something is asked of CVAT again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from serving.client.trouble import retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Pauses that double from ``first_s`` to ``most_s``, each up to ``spread`` longer by chance, or what CVAT asks for.

    A server that asks for more than ``longest_asked_s`` is not waited for that long. ``draw`` gives numbers in [0, 1).
    """

    first_s: float = 1.0
    most_s: float = 60.0
    longest_asked_s: float = 600.0
    spread: float = 0.15
    draw: Callable[[], float] = random.random
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def seconds(self, attempt: int, *, retry_after: str | None = None) -> float:
        """How long to wait after the given attempt, counted from 0.

        Args:
            retry_after: the header of that name (RFC 9110, 10.2.3), if there was one.
        """
        asked_s = retry_after_s(retry_after or "", now=self.now())
        if asked_s is not None:
            return min(asked_s, self.longest_asked_s)
        return min(self.first_s * 2.0 ** min(attempt, 30), self.most_s) * (1.0 + self.spread * self.draw())
