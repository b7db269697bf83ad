"""Compares two arms that do the same work, in turn, round after round, and judges the ratio against its bar."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from benchmarks import stolen

Direction = Literal["at_least", "at_most"]
T = TypeVar("T")
U = TypeVar("U")

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

    ``bar`` must be met by the median, None where there is none; ``aim`` is what would be good. ``at_least`` is for
    rates, ``at_most`` for latencies. ``details`` are what the number was measured with: n, batch size, threads,
    versions of the peer.
    """

    name: str
    ours: str
    peer: str
    unit: str
    rounds: Rounds
    bar: float | None
    aim: float | None
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
    def met(self) -> bool | None:
        """Whether the bar is; None where there is none."""
        if self.bar is None:
            return None
        return self.median >= self.bar if self.direction == "at_least" else self.median <= self.bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Generic[T]):
    """What the rounds gave that count, in order, the share that each lost, and how many were left out."""

    rounds: tuple[T, ...]
    stolen: tuple[float, ...]
    left_out: int


def interleaved(
    ours: Callable[[], float],
    peer: Callable[[], float],
    *,
    rounds: int,
    warm_up: int = 1,
    processor_time: Callable[[], stolen.ProcessorTime] = stolen.now,
) -> Rounds:
    """Measure both arms in turn; who begins changes from round to round. See ``kept`` for which rounds count.

    Args:
        ours: measures our arm once and returns its value (a rate or a latency).
        peer: the same for what we are compared to.
        rounds: how many pairs are kept.
        warm_up: how many pairs are thrown away first.
        processor_time: tells what was used and stolen so far.
    """
    pairs = kept(
        lambda number: in_turn(ours, peer, number=number),
        rounds=rounds,
        warm_up=warm_up,
        processor_time=processor_time,
    )
    return Rounds(
        ours=tuple(own for own, _ in pairs.rounds),
        peer=tuple(other for _, other in pairs.rounds),
        stolen=pairs.stolen,
        left_out=pairs.left_out,
    )


def kept(
    measure: Callable[[int], T],
    *,
    rounds: int,
    warm_up: int = 0,
    processor_time: Callable[[], stolen.ProcessorTime] = stolen.now,
) -> Kept[T]:
    """Measure round by round until enough of them count.

    On a shared host a round in which more than a tenth of the processor time went to other guests is measured again, up
    to three times as many in all; if too few are left, those that lost least count. Only that loss decides, never the
    result, and it is told.

    Args:
        measure: measures every arm once; given the round's number, from 0.
        rounds: how many count.
        warm_up: how many are thrown away first.
        processor_time: tells what was used and stolen so far.
    """
    if rounds < 1:
        raise ValueError(f"a comparison needs at least one round; got {rounds}")
    measured = list[tuple[float, T]]()
    for number in range(warm_up + _TRIES * rounds):
        before = processor_time()
        result = measure(number)
        lost = stolen.share(before, processor_time())
        if number >= warm_up:
            measured.append((lost, result))
        if sum(lost <= MOST_STOLEN for lost, _ in measured) == rounds:
            break
    quietest = sorted(range(len(measured)), key=lambda number: measured[number][0])[:rounds]
    counting = [measured[number] for number in sorted(quietest)]
    return Kept(
        rounds=tuple(result for _, result in counting),
        stolen=tuple(round(lost, 3) for lost, _ in counting),
        left_out=len(measured) - len(counting),
    )


def in_turn(ours: Callable[[], T], peer: Callable[[], U], *, number: int) -> tuple[T, U]:
    """What both arms give in a round; ours begins in the even ones."""
    if number % 2 == 0:
        own = ours()
        return own, peer()
    other = peer()
    return ours(), other
