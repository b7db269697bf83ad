"""Keeps the listing of a drop, and says what of it is still to be done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Boolean, Integer, Select, func, literal, literal_column, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Item, Task
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.inserts import Row, execute, insert_rows
from pipelines.store.jsonb import storable
from pipelines.store.store import Store, check_attempt
from pipelines.store.tables import failures, items, prelabels, runs
from pipelines.store.values import Pending
from pipelines.types import Failed, Failure

Entry = tuple[int, Item | Failed]  # its place in the listing, and what stands there

_LISTED = insert_rows(
    items, "run_id", "id", "media", "uri", "text", "meta", "prompts", "digest", "position", "listed_in"
)
_LISTED = _LISTED.on_conflict_do_update(
    index_elements=["run_id", "id"],
    set_={"listed_in": _LISTED.excluded.listed_in},
    where=(items.c.listed_in < _LISTED.excluded.listed_in)
    | ((items.c.listed_in == _LISTED.excluded.listed_in) & (items.c.position == _LISTED.excluded.position)),
).returning(items.c.id.label("item_id"), literal_column("items.xmax = 0", Boolean).label("is_new"))
_FAILED = insert_rows(failures, "run_id", "item_id", "task", "code", "message").on_conflict_do_nothing()


# A page begins at its place in the index and looks up what each item has. Before the tables have statistics the planner
# would rather join them whole, which takes seconds among 100,000 items.
_BY_INDEX = text("""
SELECT set_config(name, 'off', true)
FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_sort']) AS name
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What a part of a listing added to a run: how many items, and how many of these have failed already."""

    items: int
    failed: int


class Listing:
    """The items of the runs over drops, in the store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def add(self, run_id: str, entries: Sequence[Entry], *, task: Task, attempt: int) -> Added:
        """Put a part of the listing into the run; an id that this attempt has listed elsewhere becomes a failed item.

        Listing again what an earlier attempt has listed changes nothing, nor does the same part again, as when nobody
        knows whether it was stored.

        Raises:
            ConflictError: somebody else has begun a later attempt at the run (taken_over); nothing is stored.
        """
        run_id = storable(run_id)
        listed = [_Listed(position, entry, run_id=run_id, task=task, attempt=attempt) for position, entry in entries]
        async with database.transaction(self._engine) as connection:
            first, repeated = _without_repeats(listed)
            met = await _insert(connection, first)
            if len(met) < len(first):
                await check_attempt(connection, run_id, attempt)  # else a later one may have listed them
            repeated += [entry for entry in first if entry.id not in met]
            met |= await _insert(connection, twins := [entry.as_repeated() for entry in repeated])
            added = [entry for entry in (*first, *twins) if met.get(entry.id)]
            if failed := [entry.failure for entry in added if entry.failure is not None]:
                # As when outcomes are saved, so that results appear in the order of their positions.
                await connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))
                await execute(connection, _FAILED, failed)
        return Added(items=len(added), failed=len(failed))

    async def finish(self, run_id: str, *, attempt: int) -> None:
        """Note that every item of the drop is in the listing now."""
        is_ours = (runs.c.id == storable(run_id)) & (runs.c.attempt == attempt)
        async with database.transaction(self._engine) as connection:
            await connection.execute(update(runs).where(is_ours).values(is_listed=True))

    async def count(self, run_id: str) -> int:
        """How many items the listing holds by now."""
        listed = select(func.count()).where(items.c.run_id == storable(run_id), items.c.position.is_not(None))
        async with database.reading(self._engine) as connection:
            return (await connection.execute(listed)).scalar_one()

    async def pending(self, run_id: str, *, task: Task, after: tuple[int, str], limit: int) -> list[Pending]:
        """The next items behind a place of the listing that have no outcome yet, in the listing's order."""
        async with database.transaction(self._engine) as connection:
            await connection.execute(_BY_INDEX)
            found = (await connection.execute(_pending(run_id, task, after, limit))).mappings()
            return [
                Pending(item=rows.item(row), position=row["position"], attempts=0, has_failed=False) for row in found
            ]

    async def due(self, run_id: str, *, task: Task, limit: int) -> list[Pending]:
        """Items that have failed and whose time to be tried again has come."""
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(_due(run_id, task, limit))).mappings()
            return [
                Pending(item=rows.item(row), position=row["position"], attempts=row["attempts"], has_failed=True)
                for row in found
            ]

    async def next_retry_s(self, run_id: str, *, task: Task) -> float | None:
        """How long until the first failed item is to be tried again; None if there is none."""
        wait_s = func.extract("epoch", func.min(_RETRY_AT) - func.clock_timestamp())
        waiting = select(wait_s).where(*_retried(run_id, task))
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(waiting)).scalar_one()
        return None if found is None else max(float(found), 0.0)


async def list_all(connection: AsyncConnection, run_id: str, task: Task, given: Sequence[Item]) -> None:
    """Make these items, with ids of their own, the whole listing of a new run, in the caller's transaction."""
    listed = [_Listed(n, item, run_id=storable(run_id), task=task, attempt=0) for n, item in enumerate(given)]
    await execute(connection, _LISTED, (entry.item for entry in listed))


class _Listed:
    """The rows of an entry of the listing."""

    def __init__(self, position: int, entry: Item | Failed, *, run_id: str, task: Task, attempt: int) -> None:
        item = entry.item if isinstance(entry, Failed) else entry
        self._position, self._given, self._attempt, self._run_id = position, item, attempt, run_id
        self._task: Task = task
        failed = rows.failed_rows(
            entry if isinstance(entry, Failed) else Failed(item=item, task=task, failure=_NONE),
            run_id=run_id,
            digest=None,
        )
        self.item: Row = failed.item | {"position": position, "listed_in": attempt}
        self.failure: Row | None = failed.failure if isinstance(entry, Failed) else None

    @property
    def id(self) -> str:
        """The id that it is stored under."""
        return self.item["id"]

    def as_repeated(self) -> _Listed:
        """The failed item that stands for an entry whose id another has already."""
        item = replace(self._given, id=f"{rows.item_id(self._given.id)} (again, as entry {self._position + 1})")
        message = f"the id '{self._given.id}' comes more than once in this drop; give each item an id of its own"
        failed = Failed(item=item, task=self._task, failure=Failure(code="repeated_id", message=message))
        return _Listed(self._position, failed, run_id=self._run_id, task=self._task, attempt=self._attempt)


_NONE = Failure(code="", message="")
_RETRY_AT = failures.c.created_at + failures.c.retry_s * func.make_interval(0, 0, 0, 0, 0, 0, literal(1.0))


def _without_repeats(listed: Iterable[_Listed]) -> tuple[list[_Listed], list[_Listed]]:
    """The first entry of each id, and the others."""
    first, repeated = dict[str, _Listed](), list[_Listed]()
    for entry in listed:
        if entry.id in first:
            repeated.append(entry)
        else:
            first[entry.id] = entry
    return list(first.values()), repeated


def _pending(run_id: str, task: Task, after: tuple[int, str], limit: int) -> Select[Any]:
    """The listing without what the run has an outcome for."""
    of_item = [
        (table.c.run_id == items.c.run_id) & (table.c.item_id == items.c.id) & (table.c.task == task)
        for table in (prelabels, failures)
    ]
    return (
        select(*rows.ITEM_COLUMNS, items.c.position)
        .where(
            items.c.run_id == storable(run_id),
            items.c.position.is_not(None),
            tuple_(items.c.position, items.c.id) > tuple_(*after),
            *(~select(literal(1, Integer)).where(condition).exists() for condition in of_item),
        )
        .order_by(items.c.position, items.c.id)
        .limit(limit)
    )


def _due(run_id: str, task: Task, limit: int) -> Select[Any]:
    return (
        select(*rows.ITEM_COLUMNS, items.c.position, failures.c.attempts)
        .select_from(failures.join(items))
        .where(*_retried(run_id, task), items.c.position.is_not(None), func.clock_timestamp() >= _RETRY_AT)
        .order_by(_RETRY_AT)
        .limit(limit)
    )


def _retried(run_id: str, task: Task) -> tuple[Any, ...]:
    return failures.c.run_id == storable(run_id), failures.c.task == task, failures.c.retry_s.is_not(None)


async def _insert(connection: AsyncConnection, listed: Sequence[_Listed]) -> dict[str, bool]:
    """Store the items that this attempt has not listed yet; by their ids, whether they are new to the run, too."""
    stored = await execute(connection, _LISTED, (entry.item for entry in listed))
    return {row["item_id"]: row["is_new"] for row in stored}
