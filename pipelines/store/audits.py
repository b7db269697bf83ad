"""Reads what became of a policy's decisions, and what people answered where it drew their work."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from models.types import Annotation, Prediction
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.jsonb import storable
from pipelines.store.store import Store
from pipelines.types import Route

# Of the random sample and of the audits beyond it what has been answered, in the order of the answers.
_ANSWERED = text("""
SELECT reviews.id AS review_id, prelabels.id AS prelabel_id, prelabels.run_id, prelabels.prediction,
    decisions.route, decisions.propensity, decisions.uniform_rate, reviews.annotations AS answer, reviews.submitted_at
FROM decisions
JOIN prelabels ON prelabels.id = decisions.prelabel_id
JOIN review_tasks AS tasks ON tasks.prelabel_id = prelabels.id AND tasks.stream = 'routed'
JOIN reviews ON reviews.task_id = tasks.id AND reviews.void_since IS NULL AND reviews.was_shown IS NOT TRUE
WHERE decisions.policy_id = :policy_id AND NOT reviews.id = ANY(CAST(:known AS bigint[]))
    AND (decisions.route = 'audit' OR decisions.uniform_rate IS NOT NULL)
    AND (CAST(:run_id AS text) IS NULL OR prelabels.run_id = :run_id)
ORDER BY reviews.id
""")
_VOID = text("SELECT id FROM reviews WHERE id = ANY(CAST(:ids AS bigint[])) AND void_since IS NOT NULL")
_DECIDED = text("""
SELECT decisions.route, count(*) AS items, count(*) FILTER (WHERE tasks.state = 'dead') AS dead,
    count(*) FILTER (WHERE tasks.state IN ('pending', 'leased')) AS waiting
FROM decisions
JOIN prelabels ON prelabels.id = decisions.prelabel_id
LEFT JOIN review_tasks AS tasks ON tasks.prelabel_id = prelabels.id AND tasks.stream = 'routed'
WHERE decisions.policy_id = :policy_id AND (CAST(:run_id AS text) IS NULL OR prelabels.run_id = :run_id)
GROUP BY decisions.route
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A drawn item that somebody has answered; ``uniform_rate`` and ``propensity`` are as in its decision."""

    review_id: int
    prelabel_id: int
    run_id: str
    prediction: Prediction
    route: Route
    propensity: float
    uniform_rate: float | None
    answer: tuple[Annotation, ...]
    submitted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """How many items a policy sent on a route, of which so many still wait for a human, or were set aside."""

    items: int
    waiting: int
    dead: int


class Audits:
    """The audits of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def answered(
        self, policy_id: str, *, known: Collection[int] = (), run_id: str | None = None
    ) -> list[Answered]:
        """The drawn items of a policy that have been answered, in the order of the answers, without ``known`` reviews.

        Numbers of reviews are no moment to go on from: one may be committed after a later one.
        """
        these = {"policy_id": storable(policy_id), "known": list(known), "run_id": run_id}
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(_ANSWERED, these)).mappings().all()
        return await asyncio.to_thread(lambda: [_answered(row) for row in found])

    async def void(self, review_ids: Collection[int]) -> set[int]:
        """Those of these reviews that count no longer: replaced, or withdrawn."""
        async with database.reading(self._engine) as connection:
            return set((await connection.execute(_VOID, {"ids": list(review_ids)})).scalars())

    async def decided(self, policy_id: str, *, run_id: str | None = None) -> dict[Route, Decided]:
        """What became of a policy's decisions, by route."""
        these = {"policy_id": storable(policy_id), "run_id": run_id}
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(_DECIDED, these)).mappings()
            return {
                row["route"]: Decided(items=row["items"], waiting=row["waiting"], dead=row["dead"]) for row in found
            }


def _answered(row: Any) -> Answered:
    return Answered(
        **{name: row[name] for name in row if name not in ("prediction", "answer")},
        prediction=rows.prediction(row["prediction"]),
        answer=rows.ANNOTATIONS.validate_python(row["answer"]),
    )
