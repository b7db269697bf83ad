"""Compares two arms that do the same work, in turn, round after round, and judges the ratio against its bar."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks import stolen

Direction = Literal["at_least", "at_most"]

# Of the processor time that a round wanted. Above it the arm that uses more cores is the one that loses them.
MOST_STOLEN = 0.1
_TRIES = 3  # for each round that is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What both arms gave, round by round.

    ``stolen`` is the share of the wanted processor time that went to other guests of the host; ``left_out`` counts the
    rounds that lost too much of it and were measured again.
    """

    ours: tuple[float, ...]
    peer: tuple[float, ...]
    stolen: tuple[float, ...] = ()
    left_out: int = 0

    @property
    def ratios(self) -> list[float]:
        return [own / other for own, other in zip(self.ours, self.peer, strict=True)]


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
    rounds: Rounds
    bar: float
    aim: float
    direction: Direction = "at_least"
    details: dict[str, str | float | int]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds.ratios)

    @property
    def low(self) -> float:
        return min(self.rounds.ratios)

    @property
    def high(self) -> float:
        return max(self.rounds.ratios)

    @property
    def met(self) -> bool:
        return self.median >= self.bar if self.direction == "at_least" else self.median <= self.bar


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    ours: float
    peer: float
    stolen: float


def interleaved(
    ours: Callable[[], float],
    peer: Callable[[], float],
    *,
    rounds: int,
    warm_up: int = 1,
    processor_time: Callable[[], stolen.ProcessorTime] = stolen.now,
) -> Rounds:
    """Measure both arms in turn; who begins changes from round to round, and warm-up rounds are left out.

    On a shared host a round in which more than a tenth of the processor time went to other guests is measured again, up
    to three times as many in all; if too few are left, those that lost least count. Only that loss decides, never the
    result, and it is told.

    Args:
        ours: measures our arm once and returns its value (a rate or a latency).
        peer: the same for what we are compared to.
        rounds: how many pairs are kept.
        warm_up: how many pairs are thrown away first.
        processor_time: tells what was used and stolen so far.
    """
    if rounds < 1:
        raise ValueError(f"a comparison needs at least one round; got {rounds}")
    measured = list[_Round]()
    for number in range(warm_up + _TRIES * rounds):
        before = processor_time()
        own, other = _pair(ours, peer, ours_first=number % 2 == 0)
        lost = stolen.share(before, processor_time())
        if number >= warm_up:
            measured.append(_Round(ours=own, peer=other, stolen=lost))
        if sum(one.stolen <= MOST_STOLEN for one in measured) == rounds:
            break
    quietest = sorted(range(len(measured)), key=lambda number: measured[number].stolen)[:rounds]
    kept = [measured[number] for number in sorted(quietest)]
    return Rounds(
        ours=tuple(one.ours for one in kept),
        peer=tuple(one.peer for one in kept),
        stolen=tuple(round(one.stolen, 3) for one in kept),
        left_out=len(measured) - len(kept),
    )


def _pair(ours: Callable[[], float], peer: Callable[[], float], *, ours_first: bool) -> tuple[float, float]:
    if ours_first:
        own = ours()
        return own, peer()
    other = peer()
    return ours(), other
