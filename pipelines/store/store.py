"""Keeps runs, items, pre-labels, decisions and failures, and queues what a human must see."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import (
    ARRAY,
    Cast,
    ColumnElement,
    Table,
    Text,
    and_,
    any_,
    cast,
    delete,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from models.errors import OverloadedError
from models.types import Task
from pipelines.errors import ConflictError, NotFoundError, StoreUnavailableError
from pipelines.store import engine as database
from pipelines.store import queries, rows
from pipelines.store.groups import Groups, too_late
from pipelines.store.jsonb import storable
from pipelines.store.rows import Key
from pipelines.store.rowset import RowSet, insert_all, insert_runs, row_set
from pipelines.store.tables import failures, items, prelabels, runs
from pipelines.store.values import QueueOverview, Run, RunStatus, StoredOutcome, TaskCounts
from pipelines.types import Outcome

_FEW = 50  # outcomes, whose rows are built in some milliseconds
_MOST_INTO_RUNS = 50  # five for each connection of the pool: at 20 ms a save, a tenth of a second


class Store:
    """The database, opened. Safe to share between the tasks of one event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._groups = Groups(self._save_as_runs)
        self._saving = 0  # into runs that were started

    @staticmethod
    @asynccontextmanager
    async def open(url: str, *, pool_size: int = 5, is_current: bool = False) -> AsyncIterator[Store]:
        """Connect, bring the tables up to date, and close at the end.

        Args:
            is_current: somebody has brought the tables up to date; then the database may be away just now.

        Raises:
            ConfigError: the URL is not PostgreSQL's, or nothing answers there.
        """
        engine = database.create(url, pool_size=pool_size)
        try:
            if not is_current:
                await database.migrate(engine)
            store = Store(engine)
            try:
                yield store
            finally:
                await store._groups.close()
        finally:
            await engine.dispose()

    async def is_reachable(self) -> bool:
        """Whether the database answers now."""
        try:
            async with database.reading(self.engine) as connection:
                await connection.execute(select(1))
        except StoreUnavailableError:
            return False
        return True

    async def start_run(self, name: str, *, run_id: str | None = None) -> str:
        """Note the beginning of a run and return its id. With the id of a known run this resumes it.

        Raises:
            ConflictError: the id is that of a run over a drop (run_exists).
        """
        row = {"id": storable(run_id or uuid.uuid4().hex), "name": storable(name)}
        resume = (
            insert(runs)
            .values(row)
            .on_conflict_do_update(
                index_elements=["id"], set_={"status": "running", "finished_at": None}, where=runs.c.task.is_(None)
            )
            .returning(runs.c.id)
        )
        async with database.transaction(self.engine) as connection:
            if (await connection.execute(resume)).first() is None:
                raise ConflictError("run_exists", f"run '{row['id']}' is one over a drop; take another id")
        return row["id"]

    async def finish_run(self, run_id: str, *, status: RunStatus = "done") -> None:
        async with database.transaction(self.engine) as connection:
            done = await connection.execute(
                update(runs).where(runs.c.id == storable(run_id)).values(status=status, finished_at=func.now())
            )
            if done.rowcount == 0:
                raise no_run(run_id)

    async def run(self, run_id: str) -> Run:
        async with database.reading(self.engine) as connection:
            found = (await connection.execute(select(runs).where(runs.c.id == storable(run_id)))).mappings().first()
        if found is None:
            raise no_run(run_id)
        return Run(**found)

    async def runs(self, *, limit: int = 100) -> list[Run]:
        """The runs, newest first."""
        newest = select(runs).order_by(runs.c.created_at.desc(), runs.c.id).limit(limit)
        async with database.reading(self.engine) as connection:
            return [Run(**row) for row in (await connection.execute(newest)).mappings()]

    def check_room(self) -> None:
        """Raise OverloadedError when so much is on its way to the database that more would only wait for it."""
        self._groups.check_room()
        if self._saving >= _MOST_INTO_RUNS:
            raise OverloadedError(message=f"{self._saving} calls wait to be stored already; try again later")

    async def save(
        self,
        outcomes: Sequence[Outcome],
        *,
        run_id: str | None,
        begin_by: float | None = None,
        attempt: int | None = None,
    ) -> list[Outcome]:
        """Store outcomes and queue the reviews they call for, all or nothing, in one transaction.

        Saving again is harmless: the first pre-label of an item and task stays, with its decision and its review; a
        later pre-label replaces a failure; a later failure replaces a failure. Code points that PostgreSQL cannot hold
        become U+FFFD. Bytes that came with an item are kept if a human must see it, else only their digest is.

        Args:
            run_id: a run that was started; None makes the outcomes a finished run of their own, named "online", and
                shares a transaction with others of this kind that wait at the same time.
            begin_by: when the writing must have begun, in the running loop's time; None for whenever.
            attempt: the attempt at a drop's run that this belongs to (Drops.hold); its items are in the listing.

        Returns:
            The outcomes, in order, with a failure in place of each that could not be stored: its numbers cannot be
            stored (invalid_prediction), or its id has a pre-label of another content in this run (reused_id).

        Raises:
            NotFoundError: no such run.
            ConflictError: somebody else has begun a later attempt at the run (taken_over); nothing is stored.
            OverloadedError: its turn did not come in time; nothing is stored.
            StoreUnavailableError: the database does not answer.
        """
        if run_id is not None:
            return await self._save_into(storable(run_id), outcomes, begin_by, attempt)
        added, size_bytes = await _rows_of_a_run(outcomes)
        await self._groups.save(added, rows=len(outcomes), size_bytes=size_bytes, begin_by=begin_by)
        return added.outcomes

    async def _save_as_runs(self, row_sets: Sequence[RowSet]) -> None:
        """Store all of it or nothing.

        The commit waits for the disk (synchronous_commit stays on): what the service has acknowledged, above all the
        audits that a policy has drawn, must survive a crash. Grouping makes many calls share the wait.
        """
        async with database.transaction(self.engine) as connection:
            await insert_runs(connection, row_sets)
            await insert_all(connection, row_sets)

    async def _save_into(
        self, run_id: str, outcomes: Sequence[Outcome], begin_by: float | None, attempt: int | None
    ) -> list[Outcome]:
        self._saving += 1
        try:
            async with asyncio.timeout_at(begin_by) as limit, database.transaction(self.engine) as connection:
                await _hold_run(connection, run_id, attempt)
                limit.reschedule(None)  # it has begun
                return await _save_into(connection, run_id, outcomes, is_listed=attempt is not None)
        except TimeoutError as err:
            raise too_late() from err
        finally:
            self._saving -= 1

    async def labelled_ids(self, run_id: str, *, task: Task, item_ids: Iterable[str]) -> set[str]:
        """Which of these items already have a pre-label in the run: what a resumed run may skip."""
        by_stored = {rows.item_id(item_id): item_id for item_id in item_ids}
        keys = [(stored_id, task) for stored_id in by_stored]
        known = select(prelabels.c.item_id).where(_named(prelabels, storable(run_id), keys))
        async with database.reading(self.engine) as connection:
            return {by_stored[row.item_id] for row in await connection.execute(known)}

    async def results(self, run_id: str, *, after: int = 0, limit: int = 100) -> list[StoredOutcome]:
        """A page of the run's outcomes in the order in which they were stored.

        Args:
            after: the position of the last result of the page before; 0 for the first page.
            limit: how many at most; fewer come back only at the end.
        """
        async with database.reading(self.engine) as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")  # both tables as of one moment
            good = (await connection.execute(queries.labelled_page(run_id, after, limit))).mappings().all()
            bad = (await connection.execute(queries.failed_page(run_id, after, limit))).mappings().all()
        page = [
            StoredOutcome(position=row["position"], outcome=rows.labelled(row), review=rows.review_of_result(row))
            for row in good
        ]
        page += [StoredOutcome(position=row["position"], outcome=rows.failed(row), review=None) for row in bad]
        return sorted(page, key=lambda result: result.position)[:limit]

    async def counts(self, run_id: str) -> list[TaskCounts]:
        """How the run's items came out, task by task."""
        counts: defaultdict[Task, dict[str, int]] = defaultdict(dict)
        async with database.reading(self.engine) as connection:
            for row in (await connection.execute(queries.count_labelled(run_id))).mappings():
                counts[row["task"]] |= {name: row[name] for name in row if name != "task"}
            for row in await connection.execute(queries.count_failed(run_id)):
                counts[row.task]["failed"] = row.failed
        return [TaskCounts(task=task, **numbers) for task, numbers in sorted(counts.items())]

    async def queues(self) -> list[QueueOverview]:
        """Every queue that has ever held a task, by name."""
        async with database.reading(self.engine) as connection:
            return [QueueOverview(**row) for row in (await connection.execute(queries.queue_overviews())).mappings()]


async def _hold_run(connection: AsyncConnection, run_id: str, attempt: int | None) -> None:
    """Let one transaction at a time save into a run, so that results appear in the order of their positions."""
    held = select(runs.c.attempt).where(runs.c.id == run_id).with_for_update(key_share=True)
    found = (await connection.execute(held)).first()
    if found is None:
        raise no_run(run_id)
    if attempt is not None and found.attempt != attempt:
        raise _taken_over(run_id)


async def check_attempt(connection: AsyncConnection, run_id: str, attempt: int) -> None:
    """Make sure that nobody has begun a later attempt at a run.

    Raises:
        ConflictError: somebody has (taken_over).
    """
    if (await connection.execute(select(runs.c.attempt).where(runs.c.id == run_id))).scalar() != attempt:
        raise _taken_over(run_id)


def _taken_over(run_id: str) -> ConflictError:
    return ConflictError(
        "taken_over", f"somebody else goes on with run '{run_id}' since; what this process has not stored is theirs"
    )


async def _rows_of_a_run(outcomes: Sequence[Outcome]) -> tuple[RowSet, int]:
    """The rows of a new run and their size in bytes; those of many outcomes are built beside the event loop."""

    def build() -> tuple[RowSet, int]:
        added = row_set(outcomes, run_id=uuid.uuid4().hex, known={})
        return added, added.size_bytes()

    return build() if len(outcomes) <= _FEW else await asyncio.to_thread(build)


async def _save_into(
    connection: AsyncConnection, run_id: str, outcomes: Sequence[Outcome], *, is_listed: bool
) -> list[Outcome]:
    known = await _known(connection, {rows.item_id(outcome.item.id) for outcome in outcomes}, run_id)
    added = row_set(outcomes, run_id=run_id, known=known, is_listed=is_listed)
    await insert_all(connection, [added])
    if new := [key for key in added.labelled if key not in known]:
        await connection.execute(delete(failures).where(_named(failures, run_id, new)))
    return added.outcomes


async def _known(connection: AsyncConnection, ids: set[str], run_id: str) -> dict[Key, str | None]:
    """What has a pre-label in the run of these items, with the digests of the items."""
    found = (
        select(
            items.c.id.label("item_id"),
            prelabels.c.task,
            func.coalesce(items.c.digest, prelabels.c.provenance["item_digest"].astext).label("digest"),
        )
        .select_from(items.join(prelabels))
        .where(items.c.run_id == run_id, items.c.id == any_(_texts(ids)))
    )
    return {rows.key_of(row): row["digest"] for row in (await connection.execute(found)).mappings()}


def _named(table: Table, run_id: str, keys: Sequence[Key]) -> ColumnElement[bool]:
    """The rows with these keys. Two arrays carry them: a statement takes no more than 65,535 parameters."""
    ids, tasks = _texts(item_id for item_id, _ in keys), _texts(task for _, task in keys)
    named = func.unnest(ids, tasks).table_valued("item_id", "task").render_derived()
    return and_(
        table.c.run_id == run_id, tuple_(table.c.item_id, table.c.task).in_(select(named.c.item_id, named.c.task))
    )


def _texts(values: Iterable[str]) -> Cast[Sequence[str]]:
    return cast(list(values), ARRAY(Text))


def no_run(run_id: str) -> NotFoundError:
    return NotFoundError(message=f"no run '{run_id}'; list the runs to see their ids")
