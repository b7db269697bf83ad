"""Serves review tasks to people: leases, heartbeats, and answers that count once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Numeric, and_, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Annotation, Content, Item, Task
from pipelines.answer import annotations_of, problems, seconds_of, short, stored_annotations
from pipelines.blind import hidden
from pipelines.corrections.acceptable import Acceptable
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from pipelines.store import engine as database
from pipelines.store import queries, rows
from pipelines.store.jsonb import storable
from pipelines.store.plants import insert_plants, plants
from pipelines.store.shown import Shown, changes, shown
from pipelines.store.store import Store
from pipelines.store.tables import audit_log, corrections, review_tasks, reviews
from pipelines.store.values import Review
from pipelines.types import PreLabel

_MOST_AT_ONCE = 1000  # tasks in one claim


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewTask:
    """One item in a reviewer's hands until ``lease_until``.

    ``attempt`` counts how often the task was served; whoever answers has to name it. ``has_content`` says whether the
    item came as bytes, which ``ReviewQueue.content`` gives.

    ``is_blind`` says that the reviewer must not see the pre-label: there is nothing in it then, and nothing tells why.
    Blind are audits of what was accepted, items that were drawn whatever their score, and those that are labelled from
    scratch. A reviewer sees that a task is blind, not which of these it is, and has no pre-label to lean on.
    ``reason`` is the policy's; it tells them apart, so it is for those who run the queue, not for the reviewer.
    """

    id: int
    queue: str
    item: Item
    task: Task
    pre_label: PreLabel
    has_content: bool
    is_blind: bool
    reason: str
    priority: float
    attempt: int
    lease_until: datetime


class ReviewQueue:
    """The review queues of a store.

    A lease runs by the database's clock. Whoever let it run out has lost the task, even if nobody else took it since:
    heartbeat, release and submit then raise ConflictError (stale_lease) and change nothing.
    """

    def __init__(
        self, store: Store, *, max_expiries: int = 5, acceptable: Mapping[Task, Acceptable] | None = None
    ) -> None:
        """``acceptable`` says from where on a planted pre-label is wrong; the tasks' defaults where it says nothing."""
        self._engine = store.engine
        self._max_expiries = max_expiries
        self._acceptable = acceptable or {}

    async def claim(self, queue: str, *, reviewer: str, n: int = 1, lease_s: float = 600.0) -> list[ReviewTask]:
        """Take up to ``n`` tasks: highest priority first, oldest first among equals.

        Raises:
            InvalidRequestError: ``n``, ``lease_s`` or the reviewer's name is out of range.
        """
        if not 1 <= n <= _MOST_AT_ONCE:
            raise InvalidRequestError("invalid_argument", f"n must be from 1 to {_MOST_AT_ONCE}; got {n}")
        arguments = {
            "queue": storable(queue),
            "reviewer": short("reviewer", reviewer),
            "n": n,
            "lease_s": _lease(lease_s),
            "max_expiries": self._max_expiries,
        }
        async with database.transaction(self._engine) as connection:
            leases = {row.id: row for row in await connection.execute(queries.CLAIM, arguments)}
            if not leases:
                return []
            found = await connection.execute(queries.review_tasks_with_content(leases))
            return [_review_task(row, leases[row["task_id"]]) for row in found.mappings()]

    async def content(self, task_id: int) -> Content:
        """The bytes of a task's item, for an item that came as bytes.

        Raises:
            NotFoundError: no such task, or its item has a uri or a text instead.
        """
        async with database.reading(self._engine) as connection:
            found = None
            if 0 < task_id < 2**63:
                found = (await connection.execute(queries.content_of_review_task(task_id))).first()
        if found is None:
            message = f"no bytes are kept for review task {task_id}; its item's uri or text says what it is"
            raise NotFoundError(message=message)
        return Content(media=found.media, data=found.data)

    async def heartbeat(self, task_id: int, attempt: int, *, reviewer: str, lease_s: float = 600.0) -> datetime:
        """Keep a task for another ``lease_s`` seconds from now; answers until when.

        Raises:
            NotFoundError: no such task.
            ConflictError: the lease is no longer this reviewer's.
        """
        until = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, _lease(lease_s))
        async with database.transaction(self._engine) as connection:
            await _hold_task(connection, task_id)
            return await _change_leased(connection, task_id, attempt, reviewer, {"lease_until": until})

    async def release(self, task_id: int, attempt: int, *, reviewer: str) -> None:
        """Hand a task back unanswered; it can be claimed at once.

        Raises:
            NotFoundError: no such task.
            ConflictError: the lease is no longer this reviewer's.
        """
        async with database.transaction(self._engine) as connection:
            await _hold_task(connection, task_id)
            await _change_leased(connection, task_id, attempt, reviewer, _unleased("pending"))
            await _log(connection, "released", task_id, attempt, reviewer)

    async def submit(
        self,
        task_id: int,
        attempt: int,
        *,
        reviewer: str,
        annotations: Sequence[Annotation] | Sequence[Mapping[str, Any]],
        seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> Review:
        """Answer a task. In one transaction the review is stored beside the pre-label, and what it changes in that
        beside the review, and the task is done.

        Args:
            annotations: all that is right about the item, as values or as their JSON; empty means nothing is there.
            seconds: how long the reviewer worked on it.
            idempotency_key: a reviewer who repeats a key gets the first answer again, without a second review.

        Raises:
            NotFoundError: no such task.
            ConflictError: the lease is no longer this reviewer's, or the key was used for another answer.
            InvalidRequestError: the annotations cannot be read or cannot be true of an item of this task, or the
                seconds or the key are out of range.
        """
        given = annotations_of(annotations)
        answer = {
            "task_id": task_id,
            "attempt": attempt,
            "reviewer": storable(reviewer),
            "annotations": stored_annotations(given),
            "seconds": seconds_of(seconds),
            "idempotency_key": None if idempotency_key is None else short("idempotency_key", idempotency_key),
        }
        before = await self._shown(task_id)
        if found := problems(before.task, given):
            raise InvalidRequestError("invalid_annotations", "; ".join(found[:5]))
        changed = await changes(before, given)
        async with database.transaction(self._engine) as connection:
            await _hold_task(connection, task_id)
            if earlier := await _earlier_answer(connection, answer):
                return earlier
            await _change_leased(connection, task_id, attempt, reviewer, _unleased("done"))
            await _log(connection, "submitted", task_id, attempt, reviewer)
            review = await _store_answer(connection, answer)
            if changed is not None:
                await connection.execute(insert(corrections).values(review_id=review.id, seconds=seconds, **changed))
            return review

    async def plant(self, queue: str, n: int, *, rng: np.random.Generator) -> list[int]:
        """Queue up to ``n`` tasks whose pre-label was made wrong on purpose, to see how many reviewers notice.

        They are made from pre-labels that somebody reviewed in this queue and found right, once each, and are served to
        anybody but them: where one person reviews alone, they wait for somebody else. Nothing in a task tells that it
        is one of these; whoever sees an item a second time may guess. They count in no acceptance rate, and give no
        result.

        Returns:
            The ids of the tasks; fewer than ``n`` where fewer right pre-labels are left.

        Raises:
            InvalidRequestError: ``n`` is out of range.
        """
        if not 1 <= n <= _MOST_AT_ONCE:
            raise InvalidRequestError("invalid_argument", f"n must be from 1 to {_MOST_AT_ONCE}; got {n}")
        name = storable(queue)
        async with database.reading(self._engine) as connection:
            found = await plants(connection, name, n, rng=rng, acceptable=self._acceptable)
        async with database.transaction(self._engine) as connection:
            return await insert_plants(connection, name, found)

    async def _shown(self, task_id: int) -> Shown:
        async with database.reading(self._engine) as connection:
            found = await shown(connection, task_id)
        if found is None:
            raise _no_task(task_id)
        return found


def _review_task(row: Any, lease: Any) -> ReviewTask:
    return ReviewTask(
        id=lease.id,
        queue=row["task_queue"],
        item=rows.item(row),
        task=row["task"],
        pre_label=_shown_pre_label(row),
        is_blind=row["is_blind"],
        has_content=row["has_content"],
        reason=row["reason"],
        priority=row["priority"],
        attempt=lease.attempt,
        lease_until=lease.lease_until,
    )


def _shown_pre_label(row: Any) -> PreLabel:
    """The pre-label as its reviewer may see it; one that was made wrong looks like any other."""
    pre_label = rows.pre_label(row)
    if row["is_blind"]:
        return hidden(pre_label)
    if row["planted_prediction"] is not None:
        return replace(pre_label, prediction=rows.prediction(row["planted_prediction"]))
    return pre_label


async def _hold_task(connection: AsyncConnection, task_id: int) -> None:
    """Let one transaction at a time change a review task."""
    found = None
    if 0 < task_id < 2**63:
        held = select(review_tasks.c.id).where(review_tasks.c.id == task_id).with_for_update()
        found = (await connection.execute(held)).first()
    if found is None:
        raise _no_task(task_id)


def _no_task(task_id: int) -> NotFoundError:
    return NotFoundError(message=f"no review task {task_id}; use the id that claim gave")


async def _earlier_answer(connection: AsyncConnection, answer: Mapping[str, Any]) -> Review | None:
    """The review that this reviewer already gave under this key; repeating it must repeat the same answer."""
    if answer["idempotency_key"] is None:
        return None
    same_key = select(*rows.REVIEW_COLUMNS).where(
        reviews.c.reviewer == answer["reviewer"], reviews.c.idempotency_key == answer["idempotency_key"]
    )
    found = (await connection.execute(same_key)).mappings().first()
    if found is None:
        return None
    if any(found[f"review_{name}"] != answer[name] for name in ("task_id", "annotations")):
        raise _key_reused(answer)
    return rows.review(found)


async def _store_answer(connection: AsyncConnection, answer: Mapping[str, Any]) -> Review:
    statement = insert(reviews).values(answer).on_conflict_do_nothing(constraint="reviews_idempotency")
    stored = (await connection.execute(statement.returning(*rows.REVIEW_COLUMNS))).mappings().first()
    if stored is None:  # another task took the key a moment ago
        raise _key_reused(answer)
    return rows.review(stored)


async def _change_leased(
    connection: AsyncConnection, task_id: int, attempt: int, reviewer: str, values: Mapping[str, Any]
) -> Any:
    """Change a held task if the fence stands (leased to this reviewer, under this attempt, still running).

    Returns:
        When its lease ends.
    """
    fence = and_(
        review_tasks.c.state == "leased",
        review_tasks.c.attempt == cast(str(attempt), Numeric),  # whatever number the caller names
        review_tasks.c.lease_owner == storable(reviewer),
        review_tasks.c.lease_until > func.clock_timestamp(),
    )
    change = update(review_tasks).where(review_tasks.c.id == task_id, fence).values(**values)
    changed = (await connection.execute(change.returning(review_tasks.c.lease_until))).first()
    if changed is None:
        raise await _why_not(connection, task_id, attempt, reviewer)
    return changed.lease_until


async def _why_not(connection: AsyncConnection, task_id: int, attempt: int, reviewer: str) -> ConflictError:
    found = (await connection.execute(select(review_tasks).where(review_tasks.c.id == task_id))).one()
    if found.state == "leased" and (found.attempt, found.lease_owner) == (attempt, storable(reviewer)):
        now = "the lease has run out"
    elif found.state == "leased":
        now = f"it has been served as attempt {found.attempt}"
    else:
        now = f"it is {found.state} since attempt {found.attempt}"
    return ConflictError(
        "stale_lease",
        f"task {task_id} is not leased to '{reviewer}' under attempt {attempt}: {now}; claim a task again",
    )


async def _log(connection: AsyncConnection, action: str, task_id: int, attempt: int, reviewer: str) -> None:
    row = {"action": action, "actor": storable(reviewer), "task_id": task_id, "attempt": attempt}
    await connection.execute(insert(audit_log).values(row))


def _unleased(state: str) -> dict[str, Any]:
    return {"state": state, "lease_owner": None, "lease_until": None}


def _key_reused(answer: Mapping[str, Any]) -> ConflictError:
    return ConflictError(
        "key_reused",
        f"idempotency key '{answer['idempotency_key']}' already came with another task or another answer; "
        f"send this answer to task {answer['task_id']} under a key of its own",
    )


def _lease(lease_s: float) -> float:
    if not 0.0 < lease_s <= 30 * 86_400.0:
        raise InvalidRequestError("invalid_argument", f"lease_s must be above 0 and at most 30 days; got {lease_s}")
    return lease_s
