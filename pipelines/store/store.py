"""Keeps runs, items, pre-labels, decisions and failures, and queues what a human must see."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import (
    ARRAY,
    Cast,
    ColumnElement,
    Insert,
    RowMapping,
    Table,
    Text,
    and_,
    any_,
    cast,
    delete,
    exists,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from models.errors import OverloadedError
from models.types import Task
from pipelines.errors import NotFoundError, StoreUnavailableError
from pipelines.store import engine as database
from pipelines.store import queries, rows
from pipelines.store.jsonb import storable
from pipelines.store.rows import Key, LabelledRows, Row
from pipelines.store.tables import contents, decisions, failures, items, prelabels, review_tasks, runs
from pipelines.store.values import QueueOverview, Run, RunStatus, StoredOutcome, TaskCounts
from pipelines.types import Labelled, Outcome

_MOST_SAVES = 50  # five for each connection of the pool: at 20 ms a save, a tenth of a second


class Store:
    """The database, opened. Safe to share between the tasks of one event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._saving = 0

    @staticmethod
    @asynccontextmanager
    async def open(url: str, *, pool_size: int = 5) -> AsyncIterator[Store]:
        """Connect, bring the tables up to date, and close at the end.

        Raises:
            ConfigError: the URL is not PostgreSQL's, or nothing answers there.
        """
        engine = database.create(url, pool_size=pool_size)
        try:
            await database.migrate(engine)
            yield Store(engine)
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
        """Note the beginning of a run and return its id. With the id of a known run this resumes it."""
        row = {"id": storable(run_id or uuid.uuid4().hex), "name": storable(name)}
        resume = (
            insert(runs)
            .values(row)
            .on_conflict_do_update(index_elements=["id"], set_={"status": "running", "finished_at": None})
        )
        async with database.transaction(self.engine) as connection:
            await connection.execute(resume)
        return row["id"]

    async def finish_run(self, run_id: str, *, status: RunStatus = "done") -> None:
        async with database.transaction(self.engine) as connection:
            done = await connection.execute(
                update(runs).where(runs.c.id == storable(run_id)).values(status=status, finished_at=func.now())
            )
            if done.rowcount == 0:
                raise _no_run(run_id)

    async def run(self, run_id: str) -> Run:
        async with database.reading(self.engine) as connection:
            found = (await connection.execute(select(runs).where(runs.c.id == storable(run_id)))).mappings().first()
        if found is None:
            raise _no_run(run_id)
        return Run(**found)

    async def runs(self, *, limit: int = 100) -> list[Run]:
        """The runs, newest first."""
        newest = select(runs).order_by(runs.c.created_at.desc(), runs.c.id).limit(limit)
        async with database.reading(self.engine) as connection:
            return [Run(**row) for row in (await connection.execute(newest)).mappings()]

    def check_room(self) -> None:
        """Raise OverloadedError when so many saves are on their way that another would only wait for them."""
        if self._saving >= _MOST_SAVES:
            raise OverloadedError(message=f"{self._saving} calls wait to be stored already; try again later")

    async def save(self, outcomes: Sequence[Outcome], *, run_id: str | None) -> list[Outcome]:
        """Store outcomes and queue the reviews they call for, all or nothing, in one transaction.

        Saving again is harmless: the first pre-label of an item and task stays, with its decision and its review; a
        later pre-label replaces a failure; a later failure replaces a failure. Code points that PostgreSQL cannot hold
        become U+FFFD. Bytes that came with an item are kept if a human must see it, else only their digest is.

        Args:
            run_id: a run that was started; None makes the outcomes a finished run of their own, named "online".

        Returns:
            The outcomes, in order, with a failure in place of each that could not be stored: its numbers cannot be
            stored (invalid_prediction), or its id has a pre-label of another content in this run (reused_id).

        Raises:
            NotFoundError: no such run.
        """
        self._saving += 1
        try:
            return await self._save(outcomes, run_id)
        finally:
            self._saving -= 1

    async def _save(self, outcomes: Sequence[Outcome], run_id: str | None) -> list[Outcome]:
        async with database.transaction(self.engine) as connection:
            is_new = run_id is None  # nothing is in it yet, so nothing has to be looked up
            run_id = await (_finished_run(connection) if run_id is None else _hold_run(connection, storable(run_id)))
            ids = {rows.item_id(outcome.item.id) for outcome in outcomes}
            labelled = {} if is_new else await _labelled_digests(connection, ids, run_id)
            stored = [rows.rows_of(outcome) for outcome in _with_ids_of_their_own(outcomes, labelled)]
            new = [outcome for outcome, _ in stored if rows.item_id(outcome.item.id) not in labelled]
            await _save_items(connection, new, run_id)
            saved = await _save_labelled(
                connection, [row for _, row in stored if isinstance(row, LabelledRows)], run_id
            )
            if saved and not is_new:
                await connection.execute(delete(failures).where(_named(failures, run_id, saved)))
            await _save_contents(connection, (outcome for outcome, _ in stored))
            await _save_failed(connection, [row for _, row in stored if not isinstance(row, LabelledRows)], run_id)
        return [outcome for outcome, _ in stored]

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


async def _finished_run(connection: AsyncConnection) -> str:
    row = {"id": uuid.uuid4().hex, "name": "online", "status": "done", "finished_at": func.now()}
    await connection.execute(insert(runs).values(row))
    return row["id"]


async def _hold_run(connection: AsyncConnection, run_id: str) -> str:
    """Let one transaction at a time save into a run, so that results appear in the order of their positions."""
    found = await connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))
    if found.first() is None:
        raise _no_run(run_id)
    return run_id


async def _labelled_digests(connection: AsyncConnection, ids: set[str], run_id: str) -> dict[str, str]:
    """The contents, by their digests, of those items that have a pre-label in the run."""
    has_prelabel = exists().where(prelabels.c.run_id == items.c.run_id, prelabels.c.item_id == items.c.id)
    found = select(items.c.id, items.c.digest).where(items.c.run_id == run_id, items.c.id == any_(_texts(ids)))
    return {row.id: row.digest for row in await connection.execute(found.where(has_prelabel))}


def _with_ids_of_their_own(outcomes: Sequence[Outcome], labelled: Mapping[str, str]) -> Iterator[Outcome]:
    """The outcomes; one whose id already names another content becomes a failure."""
    digests = dict(labelled)
    for outcome in outcomes:
        item_id, digest = rows.item_id(outcome.item.id), rows.digest_of(outcome)
        if digest is not None and digests.get(item_id, digest) != digest:
            yield rows.reused_id(outcome)
            continue
        if digest is not None and isinstance(outcome, Labelled):
            digests[item_id] = digest
        yield outcome


async def _save_items(connection: AsyncConnection, outcomes: Sequence[Outcome], run_id: str) -> None:
    """Store the items of these outcomes; none of them has a pre-label yet, so the newest description counts."""
    statement = insert(items)
    described = {name: statement.excluded[name] for name in items.c.keys() if name not in ("run_id", "id")}  # noqa: SIM118
    statement = statement.on_conflict_do_update(index_elements=["run_id", "id"], set_=described)
    by_id = dict[str, Row]()
    for outcome in sorted(outcomes, key=lambda outcome: isinstance(outcome, Labelled)):  # what was labelled counts most
        row = rows.item_row(outcome)
        by_id[row["id"]] = row
    await _insert(connection, statement, by_id.values(), run_id=run_id)


async def _save_labelled(connection: AsyncConnection, labelled: Sequence[LabelledRows], run_id: str) -> list[Key]:
    """Store pre-labels with their decisions and review tasks; those that have a pre-label already stay as they are.

    Returns:
        The keys of those that were stored.
    """
    statement = (
        insert(prelabels)
        .on_conflict_do_nothing(constraint="prelabels_key")
        .returning(prelabels.c.id, prelabels.c.item_id, prelabels.c.task)
    )
    new = await _insert(connection, statement, (entry.prelabel for entry in labelled), run_id=run_id)
    by_key = {rows.key_of(entry.prelabel): entry for entry in reversed(labelled)}  # of twins the first was stored
    stored = [({"prelabel_id": row["id"]}, by_key[rows.key_of(row)]) for row in new]
    await _insert(connection, insert(decisions), (id_ | entry.decision for id_, entry in stored))
    to_review = (id_ | entry.review_task for id_, entry in stored if entry.review_task)
    await _insert(connection, insert(review_tasks), to_review)
    return [rows.key_of(row) for row in new]


async def _save_contents(connection: AsyncConnection, outcomes: Iterable[Outcome]) -> None:
    """Keep the bytes of items that a human must see and nobody else can show; once for each content."""
    by_digest = {
        rows.digest_of(outcome): outcome.item.data
        for outcome in outcomes
        if isinstance(outcome, Labelled) and outcome.decision.route != "accept" and outcome.item.data is not None
    }
    values = [{"digest": digest, "data": data} for digest, data in by_digest.items()]
    await _insert(connection, insert(contents).on_conflict_do_nothing(), values)


async def _save_failed(connection: AsyncConnection, failed: Sequence[Row], run_id: str) -> None:
    """Store failures of items that have no pre-label."""
    by_key = {rows.key_of(row): row for row in failed}
    if not by_key:
        return
    known = select(prelabels.c.item_id, prelabels.c.task).where(_named(prelabels, run_id, list(by_key)))
    labelled = {rows.key_of(row) for row in (await connection.execute(known)).mappings()}
    statement = insert(failures)
    statement = statement.on_conflict_do_update(
        constraint="failures_key", set_={"code": statement.excluded.code, "message": statement.excluded.message}
    )
    await _insert(connection, statement, (by_key[key] for key in by_key if key not in labelled), run_id=run_id)


async def _insert(
    connection: AsyncConnection, statement: Insert, values: Iterable[Row], **constant: str
) -> Sequence[RowMapping]:
    values = [row | constant for row in values]
    if not values:
        return []
    result = await connection.execute(statement, values)
    return result.mappings().all() if result.returns_rows else []


def _named(table: Table, run_id: str, keys: Sequence[Key]) -> ColumnElement[bool]:
    """The rows with these keys. Two arrays carry them: a statement takes no more than 65,535 parameters."""
    ids, tasks = _texts(item_id for item_id, _ in keys), _texts(task for _, task in keys)
    named = func.unnest(ids, tasks).table_valued("item_id", "task").render_derived()
    return and_(
        table.c.run_id == run_id, tuple_(table.c.item_id, table.c.task).in_(select(named.c.item_id, named.c.task))
    )


def _texts(values: Iterable[str]) -> Cast[Sequence[str]]:
    return cast(list(values), ARRAY(Text))


def _no_run(run_id: str) -> NotFoundError:
    return NotFoundError(message=f"no run '{run_id}'; list the runs to see their ids")
