"""Gives a blind review task its place in a queue, as if it were any other task there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from pipelines.store.inserts import Row

_RECENT = 1_000

_RECENT_PRIORITIES = text("""
SELECT priority FROM review_tasks
WHERE queue = :queue AND NOT is_blind AND stream = 'routed'
ORDER BY id DESC LIMIT :recent
""")


async def placed(
    connection: AsyncConnection,
    tasks: Sequence[Row],
    draws: Mapping[int, float | str | None],
    *,
    drawn: Collection[int] = (),
) -> list[Row]:
    """The tasks in their order, each blind or drawn one with a priority that tells nothing about its pre-label.

    It is spread over the priorities of the last thousand tasks of its queue whose pre-labels are shown, those that are
    stored with it among them.

    Args:
        tasks: rows of review_tasks.
        draws: the draws of their decisions, by the ids of the pre-labels; no reviewer knows them.
        drawn: the pre-labels of the random sample: those of them that wait must be missing at random.
    """
    spread = {task["prelabel_id"] for task in tasks if task["is_blind"] or task["prelabel_id"] in drawn}
    queues = {task["queue"] for task in tasks if task["prelabel_id"] in spread}
    shown = {queue: await _priorities(connection, queue, tasks) for queue in queues}
    return [
        task | {"priority": place(_uniform(task["prelabel_id"], draws.get(task["prelabel_id"])), shown[task["queue"]])}
        if task["prelabel_id"] in spread
        else task
        for task in tasks
    ]


def place(draw: float, priorities: np.ndarray) -> float:
    """A priority whose rank among others is uniform, as that of one more like them would be.

    The quantile function of the others, linear between them, from 1 above the first to 0 below the last: of the n + 1
    gaps between n others each is as likely.

    Args:
        draw: uniform in [0, 1).
        priorities: (n,) in [0, 1], in any order.

    Returns:
        In [0, 1]; 1 − draw where there is no other.
    """
    borders = np.concatenate([[1.0], np.sort(priorities)[::-1], [0.0]])  # (n + 2,), falling
    return float(np.interp(draw * (len(borders) - 1), np.arange(len(borders)), borders))


async def _priorities(connection: AsyncConnection, queue: str, tasks: Sequence[Row]) -> np.ndarray:
    """(n,) of the tasks that come now, and of the last ones before them."""
    now = [task["priority"] for task in tasks if task["queue"] == queue and not task["is_blind"]]
    recent = await connection.execute(_RECENT_PRIORITIES, {"queue": queue, "recent": _RECENT})
    return np.array([*now, *recent.scalars()], dtype=np.float64)


def _uniform(prelabel_id: int, draw: float | str | None) -> float:
    """A number in [0, 1) that stays the same for a pre-label.

    Not the draw itself: whoever was drawn for an audit has a low one.
    """
    digest = hashlib.sha256(f"{prelabel_id}:{draw}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
