"""Says how long to wait before something is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_ASKED_S = 600.0  # a server that asks for more is not waited for that long


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Pauses that double from ``first_s`` to ``most_s``, each up to ``spread`` longer by chance, or what a server asks.

    ``draw`` gives numbers in [0, 1).
    """

    first_s: float = 1.0
    most_s: float = 60.0
    spread: float = 0.15
    draw: Callable[[], float] = random.random
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def seconds(self, attempt: int, *, retry_after: str | None = None) -> float:
        """How long to wait after the given attempt, counted from 0.

        Args:
            retry_after: the header of that name (RFC 9110, 10.2.3): seconds, or a date.
        """
        asked = None if retry_after is None else self._asked_s(retry_after)
        if asked is not None:
            return min(max(asked, 0.0), _LONGEST_ASKED_S)
        return min(self.first_s * 2.0**attempt, self.most_s) * (1.0 + self.spread * self.draw())

    def _asked_s(self, retry_after: str) -> float | None:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        try:
            return (parsedate_to_datetime(retry_after) - self.now()).total_seconds()
        except (TypeError, ValueError):  # neither seconds nor a date, or a date without a zone
            return None
