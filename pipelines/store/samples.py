"""Keeps which items were chosen for humans, and queues the reviews of those that have none yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import ARRAY, BigInteger, any_, cast, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Task
from pipelines.errors import NotFoundError
from pipelines.sampling import Strategy
from pipelines.store import engine as database
from pipelines.store.inserts import execute, insert_rows
from pipelines.store.jsonb import Json, storable, to_json
from pipelines.store.places import placed
from pipelines.store.store import Store
from pipelines.store.tables import gives_answer, prelabels, review_tasks, sample_members, samples

_MEMBERS = insert_rows(
    *(sample_members, "sample_id", "position", "prelabel_id", "reason"),
    *("utility", "propensity", "is_uniform", "is_queued"),
)
_TASKS = (
    insert_rows(review_tasks, "prelabel_id", "queue", "priority", "is_blind", "stream")
    .on_conflict_do_nothing()
    .returning(review_tasks.c.prelabel_id)
)
# Of two samples of one task at the same time, the second sees what the first has queued.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('prelabel samples ' || :task, 0))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An item of a sample.

    Attributes:
        id: the item's.
        propensity: the probability with which it was drawn; None where the strategy chose it.
        is_uniform: whether it was drawn: its reviewer does not see the pre-label, and certificates may rest on it.
        is_queued: whether the sample queues its review; else a review of it waits, or is done, already.
        priority: of its review, while it is not stored.
    """

    id: str
    run_id: str
    prelabel_id: int
    reason: str
    utility: float
    propensity: float | None
    is_uniform: bool
    is_queued: bool
    priority: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A choice of items, what was asked for, and what it was chosen from; ``created_at`` is None for a trial.

    ``parameters`` holds what else shaped it: explore, group_by, quotas, radius, most_cost, queue, the uncertainty and
    the model of the embeddings that were used; and what it was chosen from: how many items, of these labelled and
    queued, and beside them hidden ones, which nobody can be shown.
    """

    id: str
    task: Task
    run_id: str | None
    strategy: Strategy
    budget: int
    seed: int
    parameters: Mapping[str, Json]
    created_at: datetime | None
    members: tuple[Member, ...]

    @property
    def queue(self) -> str:
        """Where the reviews go."""
        return str(self.parameters.get("queue") or "default")


class Samples:
    """The samples of a store; they are written once."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def write(self, sample: Sample, *, rng: np.random.Generator) -> Sample:
        """Keep a sample and queue the reviews of its members, in one transaction; as it was stored.

        Drawn members are reviewed blind, in the stream ``random``, the others in the stream ``sampled``. A member that
        has a review task keeps it; that of a drawn one becomes blind if it has not been served yet. If there is a
        sample with this id already, that one comes back, and nothing is done.

        Args:
            rng: places the blind tasks among the others (places.py).
        """
        async with database.transaction(self._engine) as connection:
            await connection.execute(_ONE_AT_A_TIME, {"task": sample.task})
            if not await _insert(connection, sample):
                return await _read(connection, sample.id)
            queued = await _queue(connection, sample, rng)
            await _blind(connection, sample, rng)
            members = [replace(member, is_queued=member.prelabel_id in queued) for member in sample.members]
            await execute(connection, _MEMBERS, (_row(sample.id, place, own) for place, own in enumerate(members)))
            return await _read(connection, sample.id)

    async def read(self, sample_id: str) -> Sample:
        """A sample with its members, in the order of their choice.

        Raises:
            NotFoundError: no such sample.
        """
        async with database.reading(self._engine) as connection:
            return await _read(connection, sample_id)


async def _insert(connection: AsyncConnection, sample: Sample) -> bool:
    """Note the sample; False where there is one with its id."""
    row = {
        "id": storable(sample.id),
        "task": sample.task,
        "run_id": None if sample.run_id is None else storable(sample.run_id),
        "strategy": sample.strategy,
        "budget": sample.budget,
        "seed": sample.seed,
        "parameters": to_json(dict(sample.parameters)),
    }
    new = insert(samples).values(row).on_conflict_do_nothing().returning(samples.c.id)
    return (await connection.execute(new)).first() is not None


async def _queue(connection: AsyncConnection, sample: Sample, rng: np.random.Generator) -> set[int]:
    """Queue the reviews of members that have none; the ids of their pre-labels."""
    ids = [member.prelabel_id for member in sample.members]
    there = select(review_tasks.c.prelabel_id).where(
        review_tasks.c.prelabel_id == any_(cast(ids, ARRAY(BigInteger))), gives_answer
    )
    have = set((await connection.execute(there)).scalars())
    tasks = [
        {
            "prelabel_id": member.prelabel_id,
            "queue": storable(sample.queue),
            "priority": member.priority,
            "is_blind": member.is_uniform,
            "stream": "random" if member.is_uniform else "sampled",
        }
        for member in sample.members
        if member.prelabel_id not in have and member.is_queued
    ]
    draws = {task["prelabel_id"]: float(rng.random()) for task in tasks}
    new = await execute(connection, _TASKS, await placed(connection, tasks, draws))
    return {row["prelabel_id"] for row in new}


async def _blind(connection: AsyncConnection, sample: Sample, rng: np.random.Generator) -> None:
    """Hide the pre-labels of drawn members whose tasks have not been served to anybody yet, and spread these tasks."""
    drawn = [member.prelabel_id for member in sample.members if member.is_uniform]
    unseen = (
        select(review_tasks.c.id, review_tasks.c.prelabel_id, review_tasks.c.queue, review_tasks.c.priority)
        .where(
            review_tasks.c.prelabel_id == any_(cast(drawn, ARRAY(BigInteger))),
            review_tasks.c.state == "pending",
            review_tasks.c.attempt == 0,
            review_tasks.c.is_blind.is_(False),
            gives_answer,
        )
        .with_for_update(skip_locked=True)  # who serves one just now shows its pre-label
    )
    tasks = [dict(row) | {"is_blind": True} for row in (await connection.execute(unseen)).mappings()]
    draws: dict[int, float | str | None] = {task["prelabel_id"]: float(rng.random()) for task in tasks}
    for task in await placed(connection, tasks, draws):
        hidden = {"is_blind": True, "priority": task["priority"]}
        await connection.execute(update(review_tasks).where(review_tasks.c.id == task["id"]).values(hidden))


def _row(sample_id: str, position: int, member: Member) -> dict[str, Any]:
    return {
        "sample_id": storable(sample_id),
        "position": position,
        "prelabel_id": member.prelabel_id,
        "reason": storable(member.reason),
        "utility": member.utility,
        "propensity": member.propensity,
        "is_uniform": member.is_uniform,
        "is_queued": member.is_queued,
    }


async def _read(connection: AsyncConnection, sample_id: str) -> Sample:
    this = samples.c.id == storable(sample_id)
    found = (await connection.execute(select(samples).where(this))).mappings().first()
    if found is None:
        raise NotFoundError(message=f"no sample '{sample_id}'; draw one, or use the id that drawing it gave")
    columns = (
        prelabels.c.item_id,
        prelabels.c.run_id,
        sample_members.c.prelabel_id,
        sample_members.c.reason,
        sample_members.c.utility,
        sample_members.c.propensity,
        sample_members.c.is_uniform,
        sample_members.c.is_queued,
    )
    listed = select(*columns).select_from(sample_members.join(prelabels))
    listed = listed.where(sample_members.c.sample_id == found["id"]).order_by(sample_members.c.position)
    rows: Sequence[Any] = (await connection.execute(listed)).mappings().all()
    return Sample(**found, members=tuple(_member(row) for row in rows))


def _member(row: Any) -> Member:
    own = {name: row[name] for name in row if name != "item_id"}
    return Member(id=row["item_id"], **own)
