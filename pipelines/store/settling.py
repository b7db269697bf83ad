"""Decides which of a platform's answers count for a pre-label, and writes the reviews that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, and_, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from pipelines.store import rows
from pipelines.store.answer_versions import AnswerVersion, last_versions_of
from pipelines.store.shown import changes, shown
from pipelines.store.tables import audit_log, corrections, gives_answer, prelabels, review_tasks, reviews

VOLUNTEERED = "volunteered"
_PLATFORM = "platform"  # who withdraws; it does not say which person did

# Drawn are audits and the random sample: a certificate or an alarm rests on their answers.
_TASKS = text("""
SELECT tasks.id, tasks.stream, tasks.attempt, reviews.id AS review_id,
    reviews.platform_answer_id IS NOT NULL AS is_of_platform, answers.key, answers.digest,
    tasks.is_blind OR tasks.stream = 'random' OR decisions.route = 'audit' OR decisions.uniform_rate IS NOT NULL
        OR EXISTS (SELECT FROM sample_members AS drawn WHERE drawn.prelabel_id = tasks.prelabel_id AND drawn.is_uniform)
        AS is_drawn_or_blind
FROM review_tasks AS tasks
JOIN decisions ON decisions.prelabel_id = tasks.prelabel_id
LEFT JOIN reviews ON reviews.task_id = tasks.id AND reviews.void_since IS NULL
LEFT JOIN platform_answers AS answers ON answers.id = reviews.platform_answer_id
WHERE tasks.id = ANY(CAST(:ids AS bigint[]))
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The answers that count: one for the task that a human was asked to do, one for what nobody was asked."""

    asked: AnswerVersion | None
    volunteered: AnswerVersion | None


def chosen(answers: Sequence[AnswerVersion], *, is_asked: bool, must_be_blind: bool) -> Chosen:
    """Of several answers the first counts, by when the humans gave them and not by when they arrive here.

    An answer to a task that must be blind has to be. Other answers are volunteered, as all are where nobody was asked.

    Args:
        is_asked: whether there is a review task for a human to answer.
        must_be_blind: whether that one is drawn or blind.
    """
    standing = sorted((one for one in answers if not one.is_withdrawn), key=_first)
    fitting = [one for one in standing if is_asked and not (must_be_blind and one.was_shown)]
    others = [one for one in standing if one not in fitting]
    return Chosen(asked=next(iter(fitting), None), volunteered=next(iter(others), None))


def _first(answer: AnswerVersion) -> tuple[Any, str]:
    return answer.created_at, answer.key


async def settle(connection: AsyncConnection, prelabel_id: int) -> None:
    """Make the reviews of a pre-label those that its platforms' answers call for.

    What somebody has answered in the queue stays. A task that is leased is taken: its answer is there, and whoever
    holds the lease learns that from their next heartbeat. The alternative, an answer that waits for the lease to end,
    would serve a finished item to people.
    """
    answers = await _held(connection, prelabel_id)
    tasks = await _tasks(connection, prelabel_id)
    asked = next((task for task in tasks if task["stream"] != VOLUNTEERED), None)
    volunteered = next((task for task in tasks if task["stream"] == VOLUNTEERED), None)
    wanted = chosen(
        answers,
        is_asked=asked is not None,
        must_be_blind=asked is not None and asked["is_drawn_or_blind"],
    )
    if asked is not None and (asked["review_id"] is None or asked["is_of_platform"]):
        await _answer(connection, asked, wanted.asked, otherwise="pending")
    if volunteered is not None:
        await _answer(connection, volunteered, wanted.volunteered, otherwise="withdrawn")
    elif wanted.volunteered is not None:
        await _answer(connection, await _new_task(connection, prelabel_id), wanted.volunteered, otherwise="withdrawn")


async def _held(connection: AsyncConnection, prelabel_id: int) -> list[AnswerVersion]:
    """The answers about a pre-label; one transaction at a time settles it."""
    held = select(prelabels.c.id).where(prelabels.c.id == prelabel_id).with_for_update(key_share=True)
    await connection.execute(held)
    return await last_versions_of(connection, [prelabel_id])


async def _tasks(connection: AsyncConnection, prelabel_id: int) -> Sequence[RowMapping]:
    """The tasks of a pre-label that can be answered, held. What they hold is read when nobody changes it any more."""
    own = and_(review_tasks.c.prelabel_id == prelabel_id, gives_answer)
    unasked = and_(review_tasks.c.prelabel_id == prelabel_id, text("review_tasks.stream = 'volunteered'"))
    ids = list[int]()
    for condition in (own, unasked):
        ids += (await connection.execute(select(review_tasks.c.id).where(condition).with_for_update())).scalars()
    return (await connection.execute(_TASKS, {"ids": ids})).mappings().all()


async def _new_task(connection: AsyncConnection, prelabel_id: int) -> dict[str, Any]:
    row = {"prelabel_id": prelabel_id, "queue": VOLUNTEERED, "priority": 0.0, "stream": VOLUNTEERED, "state": "done"}
    new = insert(review_tasks).values(row).returning(review_tasks.c.id, review_tasks.c.attempt)
    created = (await connection.execute(new)).one()
    return {"id": created.id, "attempt": created.attempt, "review_id": None, "key": None, "digest": None}


async def _answer(connection: AsyncConnection, task: Any, answer: AnswerVersion | None, *, otherwise: str) -> None:
    """Let a task have this answer; without any it is in the state ``otherwise`` again, if it had one."""
    if answer is None:
        if task["review_id"] is not None:
            await _void(connection, task["review_id"])
            await _change(connection, task["id"], otherwise)
            await _log(connection, "withdrawn", _PLATFORM, task["id"], task["attempt"])
        return
    if (task["key"], task["digest"]) == (answer.key, answer.digest):
        return
    if task["review_id"] is not None:
        await _void(connection, task["review_id"])
    attempt = await _change(connection, task["id"], "done")
    await _write(connection, task["id"], attempt, answer)
    action = "submitted" if task["review_id"] is None else "replaced"
    await _log(connection, action, str(answer.reviewer), task["id"], attempt)


async def _write(connection: AsyncConnection, task_id: int, attempt: int, answer: AnswerVersion) -> None:
    """Store a review and what it changes in the pre-label."""
    row = {
        "task_id": task_id,
        "attempt": attempt,
        "reviewer": answer.reviewer,
        "annotations": answer.annotations,
        "seconds": answer.seconds,
        "platform_answer_id": answer.id,
        "was_shown": answer.was_shown,
    }
    review_id = (await connection.execute(insert(reviews).values(row).returning(reviews.c.id))).scalar_one()
    before = await shown(connection, task_id, was_shown=answer.was_shown)
    changed = before and await changes(before, rows.ANNOTATIONS.validate_python(answer.annotations))
    if changed:
        row = changed | {"review_id": review_id, "seconds": answer.seconds}
        await connection.execute(insert(corrections).values(row))


async def _void(connection: AsyncConnection, review_id: int) -> None:
    this = update(reviews).where(reviews.c.id == review_id)
    await connection.execute(this.values(void_since=func.clock_timestamp()))


async def _change(connection: AsyncConnection, task_id: int, state: str) -> int:
    """Give a task its state; done is a new attempt, whose number nobody else has."""
    attempt = review_tasks.c.attempt + (1 if state == "done" else 0)
    values = {"state": state, "attempt": attempt, "lease_owner": None, "lease_until": None}
    change = update(review_tasks).where(review_tasks.c.id == task_id).values(**values)
    return (await connection.execute(change.returning(review_tasks.c.attempt))).scalar_one()


async def _log(connection: AsyncConnection, action: str, actor: str, task_id: int, attempt: int) -> None:
    row = {"action": action, "actor": actor, "task_id": task_id, "attempt": attempt}
    await connection.execute(insert(audit_log).values(row))
