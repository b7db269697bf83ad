"""Draws when items arrive at a service that does not make them wait: open loop, Poisson."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Poisson arrivals: the same seed gives the same times."""

    rate: float
    seconds: float
    seed: int

    def times(self) -> list[float]:
        """Seconds from the start at which an item arrives."""
        draw = random.Random(self.seed)  # noqa: S311 - arrivals, not secrets
        moments, moment = list[float](), draw.expovariate(self.rate)
        while moment < self.seconds:
            moments.append(moment)
            moment += draw.expovariate(self.rate)
        return moments
