"""Says what reviewers changed: how much is accepted as it is, what is wrong, what that costs, and who notices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.jsonb import storable
from pipelines.store.shown import SHOWN_COLUMNS, SHOWN_FROM, changes, of_row
from pipelines.store.store import Store
from pipelines.store.tables import corrections, counts, review_tasks, reviews
from pipelines.store.totals import Chosen, Totals, queries_of

_PER_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Of how many pre-labels that were made wrong on purpose reviewers noticed it."""

    caught: int
    planted: int


class Ledger:
    """What the store knows of corrections."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def totals(self, by: str | None = None, *, chosen: Chosen | None = None) -> list[Totals]:
        """What was changed, group by group in their order; one group named "all" if ``by`` is None.

        Args:
            by: one of totals.GROUPINGS. Models are ``name@version``, days and weeks those of the answer in UTC, a week
                named by its Monday; items without the key of a slice are in the group "".

        Raises:
            InvalidRequestError: there is no such grouping.
        """
        queries = queries_of(by, chosen or Chosen())
        found = defaultdict[str, dict[str, Any]](dict)
        async with database.reading(self._engine) as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")  # all of one moment
            for query in queries:
                for row in (await connection.execute(query)).mappings():
                    found[row["group"]] |= row
        return [Totals(**found[group]) for group in sorted(found)]

    async def sensitivity(self, *, queue: str | None = None, reviewer: str | None = None) -> Sensitivity:
        """How many planted pre-labels were answered, and in how many of them the error was put right.

        Whoever puts it right and differs elsewhere from the answer that is known counts as having missed it.
        """
        conditions: list[ColumnElement[bool]] = [corrections.c.stream == "seeded", counts]
        if queue is not None:
            conditions.append(review_tasks.c.queue == storable(queue))
        if reviewer is not None:
            conditions.append(reviews.c.reviewer == storable(reviewer))
        query = (
            select(func.count().filter(corrections.c.is_caught).label("caught"), func.count().label("planted"))
            .select_from(
                corrections.join(reviews, reviews.c.id == corrections.c.review_id).join(
                    review_tasks, review_tasks.c.id == reviews.c.task_id
                )
            )
            .where(*conditions)
        )
        async with database.reading(self._engine) as connection:
            return Sensitivity(**(await connection.execute(query)).mappings().one())

    async def catch_up(self) -> int:
        """Count what was changed in reviews that are without a correction; how many that were.

        Reviews have one since the store knows corrections. What cannot be counted is left, and named in the log.
        """
        after, done = 0, 0
        while page := await self._uncounted(after):
            for row in page:
                before = of_row(row, was_shown=row["was_shown"])
                if changed := await changes(before, rows.ANNOTATIONS.validate_python(row["annotations"])):
                    correction = changed | {"review_id": row["review_id"], "seconds": row["seconds"]}
                    done += await self._count(correction)
            after = page[-1]["review_id"]
        return done

    async def _uncounted(self, after: int) -> list[Any]:
        query = (
            select(
                *SHOWN_COLUMNS,
                reviews.c.id.label("review_id"),
                reviews.c.annotations,
                reviews.c.seconds,
                reviews.c.was_shown,
            )
            .select_from(
                SHOWN_FROM.join(reviews, reviews.c.task_id == review_tasks.c.id).outerjoin(
                    corrections, corrections.c.review_id == reviews.c.id
                )
            )
            .where(corrections.c.review_id.is_(None), reviews.c.id > after, counts)
            .order_by(reviews.c.id)
            .limit(_PER_PAGE)
        )
        async with database.reading(self._engine) as connection:
            return list((await connection.execute(query)).mappings())

    async def _count(self, correction: Mapping[str, Any]) -> int:
        new = insert(corrections).values(correction).on_conflict_do_nothing().returning(corrections.c.review_id)
        async with database.transaction(self._engine) as connection:
            return len((await connection.execute(new)).all())
