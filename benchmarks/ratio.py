"""Compares two arms that do the same work, in turn, round after round, and judges the ratio against its bar."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["at_least", "at_most"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """What one comparison gave: ours / peer, round by round.

    ``bar`` must be met by the median; ``aim`` is what would be good. ``at_least`` is for rates, ``at_most`` for
    latencies. ``details`` are what the number was measured with: n, batch size, threads, versions of the peer.
    """

    name: str
    ours: str
    peer: str
    unit: str
    ours_values: tuple[float, ...]
    peer_values: tuple[float, ...]
    bar: float
    aim: float
    direction: Direction = "at_least"
    details: dict[str, str | float | int]

    @property
    def by_round(self) -> list[float]:
        return [ours / peer for ours, peer in zip(self.ours_values, self.peer_values, strict=True)]

    @property
    def median(self) -> float:
        return statistics.median(self.by_round)

    @property
    def low(self) -> float:
        return min(self.by_round)

    @property
    def high(self) -> float:
        return max(self.by_round)

    @property
    def met(self) -> bool:
        return self.median >= self.bar if self.direction == "at_least" else self.median <= self.bar


def interleaved(
    ours: Callable[[], float], peer: Callable[[], float], *, rounds: int, warm_up: int = 1
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure both arms in turn; who begins changes from round to round, and warm-up rounds are left out.

    Args:
        ours: measures our arm once and returns its value (a rate or a latency).
        peer: the same for what we are compared to.
        rounds: how many pairs are kept.
        warm_up: how many pairs are thrown away first.

    Returns:
        The values of our arm and of the peer's, round by round.
    """
    if rounds < 1:
        raise ValueError(f"a comparison needs at least one round; got {rounds}")
    pairs = [_pair(ours, peer, ours_first=number % 2 == 0) for number in range(warm_up + rounds)][warm_up:]
    return tuple(own for own, _ in pairs), tuple(other for _, other in pairs)


def _pair(ours: Callable[[], float], peer: Callable[[], float], *, ours_first: bool) -> tuple[float, float]:
    if ours_first:
        own = ours()
        return own, peer()
    other = peer()
    return ours(), other
