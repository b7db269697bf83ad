"""Says which members of a random sample may be used while others wait for their review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.policy.drawing import draw
from pipelines.policy.evidence import Judged

_FEW = 20  # members of a queue, or of those that were seen before; what waits of so few counts as wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of the sample.

    Attributes:
        judged: what is said of it; None while it waits.
        unanswered: the same without an answer, for where what waits counts as wrong.
        queue: where it waits, or waited.
        is_in_random_order: whether its review came when it did by chance alone, and not by what it scored.
    """

    judged: Judged | None
    unanswered: Judged
    queue: str
    is_in_random_order: bool


def evenly(members: Sequence[Member]) -> list[Judged]:
    """The members that stand for all of them.

    Those that wait in one queue wait by chance, and may be left out. But another queue may be slower, and what had been
    reviewed before it was drawn had scored low, as what scores high is accepted: to use all of these and a part of the
    others would make accepted items rarer, and with them their errors. So the share that is used is everywhere the one
    of the slowest queue; what is too much is left out at random. What waits in a queue of fewer than 20 members does
    not hold up the others: it counts as wrong.
    """
    queues = {member.queue for member in members if member.judged is None or member.is_in_random_order}
    parts = {queue: [m for m in members if m.queue == queue and _is_of_queue(m)] for queue in queues}
    seen_before = [member for member in members if not _is_of_queue(member)]
    large = {queue for queue, part in parts.items() if len(part) >= _FEW}
    share = min((_answered(parts[queue]) / len(parts[queue]) for queue in large), default=1.0)
    used: list[Judged] = []
    for queue, part in parts.items():
        judged = [m.judged if queue in large else m.judged or m.unanswered for m in part]
        used += _thinned([one for one in judged if one is not None], int(share * len(part) + 1e-9))
    return used + _thinned(
        [m.judged for m in seen_before if m.judged is not None], int(share * len(seen_before) + 1e-9)
    )


def _is_of_queue(member: Member) -> bool:
    return member.judged is None or member.is_in_random_order


def _answered(part: Sequence[Member]) -> int:
    return sum(member.judged is not None for member in part)


def _thinned(judged: Sequence[Judged], most: int) -> list[Judged]:
    """So many of them, at random, and always the same."""
    ordered = sorted(judged, key=lambda one: draw("evenly", one.item.id, one.pre_label.provenance.item_digest))
    return ordered[:most]
