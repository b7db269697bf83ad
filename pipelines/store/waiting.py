"""Lists what waits in a review queue, without taking it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import select

from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.jsonb import storable
from pipelines.store.store import Store
from pipelines.store.tables import decisions, gives_answer, items, prelabels, review_tasks
from pipelines.types import Labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingReview:
    """A review task that nobody has taken, and the pre-label that it is about.

    Whether the reviewer may see the pre-label says ``labelled.decision.is_blind``. ``reason`` is the policy's.
    """

    id: int
    run_id: str
    labelled: Labelled
    priority: float

    @property
    def reason(self) -> str:
        return self.labelled.decision.reason


async def waiting(store: Store, queue: str, *, after: int = 0, limit: int = 500) -> list[WaitingReview]:
    """A page of the tasks that wait for their answer, in the order in which they were queued.

    Pre-labels that were made wrong on purpose, and items whose answer is known, are not among them.
    """
    query = (
        select(
            review_tasks.c.id.label("review_task"),
            review_tasks.c.priority,
            review_tasks.c.is_blind.label("is_hidden"),
            prelabels.c.run_id.label("its_run"),
            *rows.ITEM_COLUMNS,
            *rows.PRE_LABEL_COLUMNS,
            *rows.DECISION_COLUMNS,
        )
        .select_from(
            review_tasks.join(prelabels, prelabels.c.id == review_tasks.c.prelabel_id)
            .join(items, (items.c.run_id == prelabels.c.run_id) & (items.c.id == prelabels.c.item_id))
            .join(decisions, decisions.c.prelabel_id == prelabels.c.id)
        )
        .where(
            review_tasks.c.queue == storable(queue),
            review_tasks.c.state == "pending",
            gives_answer,
            review_tasks.c.id > after,
        )
        .order_by(review_tasks.c.id)
        .limit(limit)
    )
    async with database.reading(store.engine) as connection:
        found = (await connection.execute(query)).mappings().all()
    return [
        WaitingReview(
            id=row["review_task"],
            run_id=row["its_run"],
            labelled=_hidden_if(rows.labelled(row), is_hidden=row["is_hidden"]),
            priority=row["priority"],
        )
        for row in found
    ]


def _hidden_if(labelled: Labelled, *, is_hidden: bool) -> Labelled:
    return replace(labelled, decision=replace(labelled.decision, is_blind=is_hidden))
