"""Keeps where each prediction for Label Studio is, so that none is lost, and none is stored there twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import TextClause, any_, bindparam, func, literal, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger, Text

from models.types import Item, Task
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.inserts import execute, insert_rows
from pipelines.store.jsonb import storable
from pipelines.store.listing import list_all
from pipelines.store.store import Store
from pipelines.store.tables import decisions, items, label_studio_tasks, prelabels, runs
from pipelines.types import Labelled

Key = tuple[int, str]  # a task's id, and the digest of what of it is labelled

# For an answer to be sent, and for Label Studio to store it, one by one: 10,000 took 245 s on SQLite, 1,000 on
# PostgreSQL 102 s, and there none is to be seen before all are (1.23.2, two busy cores). Three times the slowest.
_ARRIVES_S = 120.0
_ARRIVES_S_PER_TASK = 0.3
_ARRIVES_ON_S = 60.0  # after which of an answer that arrived in part no more comes
_JUST_S = 30.0  # between Label Studio's look at what it has and its call
_IN_FLIGHT_S = 30.0  # in which Label Studio may still be storing what was sent by somebody who is gone, or cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A task of Label Studio for which a prediction is wanted."""

    task_id: int
    digest: str
    item: Item

    @property
    def key(self) -> Key:
        return self.task_id, self.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What of the wanted is to be labelled now, as nobody does or has: by the caller, or by a run that was posted.

    ``run_id`` is the run that it belongs to.
    """

    keys: frozenset[Key]
    run_id: str
    is_posted: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A prediction that is to be sent: the outcome of an item for a task."""

    task_id: int
    digest: str
    version: str
    labelled: Labelled

    @property
    def key(self) -> Key:
        return self.task_id, self.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A task, and the pre-label in the store that it is to show or shows."""

    task_id: int
    digest: str
    version: str
    task: Task
    run_id: str
    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A pre-label for a task, and whether Label Studio has it, as far as anybody knows."""

    task_id: int
    version: str
    run_id: str
    item_id: str
    is_there: bool
    labelled: Labelled

    @property
    def task(self) -> Task:
        return self.labelled.task


class Deliveries:
    """The predictions for the tasks of one connection, in the store.

    A row is ``open`` until its prediction leaves: within an answer (``promised``, and ``answered`` once that was sent),
    or pushed (``pushing``, then ``delivered``). Nobody pushes a row before ``held_until``. What was promised or
    answered longer ago, and what has been pushing for long, is compared with what Label Studio has.
    """

    def __init__(self, store: Store, connection_id: str) -> None:
        self._engine, self._connection_id = store.engine, connection_id

    async def begin(
        self,
        wanted: Sequence[Wanted],
        *,
        version: str,
        task: Task,
        online_run: str,
        new_run: str,
        few: int,
        held_s: float,
    ) -> Begun:
        """Note what is wanted, and find out what of it has to be labelled.

        Up to ``few`` items become those of the ``online_run``, which the caller labels. More become a ``new_run``,
        which is posted with them in the same transaction, so that it is worked on whatever happens to the caller.
        What is open is held for ``held_s`` seconds.
        """
        by_key = {one.key: one for one in wanted}
        named = {"connection_id": self._connection_id, "version": version, "task": task}
        async with database.transaction(self._engine) as connection:
            # One after another: a statement does not see the run that another call is just posting.
            await connection.execute(select(func.pg_advisory_xact_lock(self._lock)))
            at = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
            given = _arrays(by_key) | {"item_ids": [item_id(*key) for key in sorted(by_key)]}
            begun = await connection.execute(_BEGIN, named | given | {"run_id": new_run, "held_s": held_s})
            keys = frozenset((row.task_id, row.digest) for row in begun)
            await connection.execute(_HOLD, named | _arrays(by_key) | {"held_s": held_s})
            is_posted = len(keys) > few
            if is_posted:
                found = [by_key[key].item for key in by_key if key in keys]
                await _post(connection, new_run, task, found, connection_id=self._connection_id)
            elif keys:
                of_call = update(label_studio_tasks).where(self._these(keys, version)).values(run_id=online_run)
                await connection.execute(of_call)
        return Begun(keys=keys, run_id=new_run if is_posted else online_run, is_posted=is_posted, at=at)

    async def finished(self, keys: Collection[Key], *, version: str) -> set[Key]:
        """Which of these have an outcome that will stay."""
        named = {"connection_id": self._connection_id, "version": version}
        async with database.reading(self._engine) as connection:
            found = await connection.execute(_FINISHED, named | _arrays(keys))
            return {(row.task_id, row.digest) for row in found}

    async def labelled(self, keys: Collection[Key], *, version: str) -> dict[Key, Labelled]:
        """What was found in those that are labelled by now."""
        query = _LABELLED.where(self._these(keys, version))
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(query)).mappings()
            return {(row["task_id"], row["digest"]): rows.labelled(row) for row in found}

    async def promise(self, keys: Collection[Key], *, version: str, began_at: datetime, is_alone: bool) -> set[Key]:
        """Take these for an answer; which of them may stand in it.

        Others are on their way already: just now pushed, or in the answer to another call. That of a task that is asked
        for alone, because somebody opens it, does not count, or two people who open one would not both see it.
        """
        named = {"connection_id": self._connection_id, "version": version, "held_s": arrives_s(len(keys))}
        given = {"began_at": began_at, "is_alone": is_alone, "just_s": _JUST_S}
        async with database.transaction(self._engine) as connection:
            found = await connection.execute(_PROMISE, named | given | _arrays(keys))
            return {(row.task_id, row.digest) for row in found}

    async def answered(self, keys: Collection[Key], *, version: str) -> None:
        """Note that the answer with these was sent."""
        held_until = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, arrives_s(len(keys)))
        change = update(label_studio_tasks).where(self._these(keys, version), _STATE == "promised")
        async with database.transaction(self._engine) as connection:
            await connection.execute(change.values(state="answered", held_until=held_until, changed_at=_NOW))

    async def let_go(self, keys: Collection[Key], *, version: str) -> None:
        """Let these be pushed as soon as they are there."""
        change = update(label_studio_tasks).where(self._these(keys, version), _STATE == "open")
        async with database.transaction(self._engine) as connection:
            await connection.execute(change.values(held_until=_NOW))

    async def is_owing(self) -> bool:
        """Whether something is to be pushed now, or set aside because it has failed."""
        async with database.reading(self._engine) as connection:
            found = await connection.execute(_IS_OWING, {"connection_id": self._connection_id})
            return found.scalar_one()

    async def take(self, *, limit: int) -> list[Owed]:
        """Predictions to push now, marked as ``pushing``; one process at a time may do so for a connection."""
        due = (
            select(label_studio_tasks.c.task_id, label_studio_tasks.c.version, label_studio_tasks.c.digest)
            .select_from(label_studio_tasks.join(prelabels, _OF_TASK))
            .where(self._ours, _STATE == "open", label_studio_tasks.c.held_until <= _NOW)
            .order_by(label_studio_tasks.c.held_until, label_studio_tasks.c.task_id)
            .limit(limit)
            .with_for_update(of=label_studio_tasks, skip_locked=True)
        )
        async with database.transaction(self._engine) as connection:
            taken = (await connection.execute(due)).all()
            if not taken:
                return []
            these = self._ours & tuple_(*_KEY_COLUMNS).in_([tuple(row) for row in taken])
            await connection.execute(update(label_studio_tasks).where(these).values(state="pushing", changed_at=_NOW))
            found = (await connection.execute(_LABELLED.where(these))).mappings()
            return [
                Owed(
                    task_id=row["task_id"],
                    digest=row["digest"],
                    version=row["version"],
                    labelled=rows.labelled(row),
                )
                for row in found
            ]

    async def unsure(self, *, limit: int) -> dict[str, list[Key]]:
        """Those of which nobody knows whether Label Studio has them, by their versions."""
        has_gone = label_studio_tasks.c.changed_at <= _NOW - func.make_interval(0, 0, 0, 0, 0, 0, _IN_FLIGHT_S)
        is_due = ((_STATE == "pushing") & has_gone) | (
            _STATE.in_(("promised", "answered")) & (label_studio_tasks.c.held_until <= _NOW)
        )
        query = select(*_KEY_COLUMNS).where(self._ours, is_due).order_by(label_studio_tasks.c.task_id).limit(limit)
        found = dict[str, list[Key]]()
        async with database.reading(self._engine) as connection:
            for row in await connection.execute(query):
                found.setdefault(row.version, []).append((row.task_id, row.digest))
        return found

    async def settle(self, keys: Collection[Key], *, version: str, is_there: bool) -> None:
        """Note whether Label Studio has these; what it has not is owed again.

        Unless others of the same large call have arrived just now: Label Studio stores an answer one by one, however
        long it takes. What it has is to be settled first, and all that is unsure of a call at once.
        """
        is_unsure = _STATE.in_(("pushing", "promised", "answered"))
        values = {"state": "delivered" if is_there else "open", "held_until": _NOW, "changed_at": _NOW}
        change = update(label_studio_tasks).where(self._these(keys, version), is_unsure).values(values)
        async with database.transaction(self._engine) as connection:
            if not is_there:
                named = {"connection_id": self._connection_id, "version": version, "on_s": _ARRIVES_ON_S}
                await connection.execute(_WAIT_FOR_THE_REST, named)
                change = change.where((_STATE == "pushing") | (label_studio_tasks.c.held_until <= _NOW))
            await connection.execute(change)

    async def give_up(self, keys: Collection[Key], *, version: str) -> None:
        """Note that these cannot be sent; they begin anew when they are asked for again."""
        change = update(label_studio_tasks).where(self._these(keys, version)).values(state="failed", changed_at=_NOW)
        async with database.transaction(self._engine) as connection:
            await connection.execute(change)

    async def forget_failed(self) -> None:
        """Set aside what has failed for good; it begins anew when it is asked for again."""
        async with database.transaction(self._engine) as connection:
            await connection.execute(_SET_FAILED_ASIDE, {"connection_id": self._connection_id})

    async def adopt(self, adopted: Sequence[Adopted], *, state: Literal["open", "delivered"]) -> int:
        """Note that tasks show pre-labels which were made for others (delivered), or are to show them (open).

        What a task has of this version stays as it is. Returns how many are new.
        """
        if not adopted:
            return 0
        rows_of = [
            {
                "connection_id": self._connection_id,
                "task_id": one.task_id,
                "version": one.version,
                "digest": one.digest,
                "task": one.task,
                "run_id": storable(one.run_id),
                "item_id": rows.item_id(one.item_id),
                "state": state,
            }
            for one in adopted
        ]
        async with database.transaction(self._engine) as connection:
            return len(await execute(connection, _ADOPT, rows_of))

    async def known(self, keys: Collection[Key], *, version: str) -> set[Key]:
        """Which of these were ever wanted."""
        query = select(label_studio_tasks.c.task_id, label_studio_tasks.c.digest).where(self._these(keys, version))
        async with database.reading(self._engine) as connection:
            return {(row.task_id, row.digest) for row in await connection.execute(query)}

    async def delivered(self, keys: Collection[Key], *, version: str) -> set[Key]:
        """Which of these Label Studio has had."""
        query = select(label_studio_tasks.c.task_id, label_studio_tasks.c.digest)
        query = query.where(self._these(keys, version), _STATE == "delivered")
        async with database.reading(self._engine) as connection:
            return {(row.task_id, row.digest) for row in await connection.execute(query)}

    async def owe_again(self, keys: Collection[Key], *, version: str) -> None:
        """Note that Label Studio has none of these any more, of which it had every one."""
        change = update(label_studio_tasks).where(self._these(keys, version), _STATE == "delivered")
        async with database.transaction(self._engine) as connection:
            await connection.execute(change.values(state="open", held_until=_NOW, changed_at=_NOW))

    async def counts(self) -> dict[str, int]:
        """How many predictions are in which state."""
        query = select(_STATE, func.count()).where(self._ours).group_by(_STATE)
        async with database.reading(self._engine) as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def of_tasks(self, task_ids: Collection[int]) -> list[Delivered]:
        """Every pre-label that these tasks have had, those that left last at the end."""
        ids = literal(list(task_ids), ARRAY(BigInteger))
        query = _LABELLED.add_columns(
            prelabels.c.run_id.label("its_run"), label_studio_tasks.c.state, label_studio_tasks.c.changed_at
        ).where(self._ours, label_studio_tasks.c.task_id == any_(ids))
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(query.order_by(label_studio_tasks.c.changed_at))).mappings()
            return [
                Delivered(
                    task_id=row["task_id"],
                    version=row["version"],
                    run_id=row["its_run"],
                    item_id=row["item_id"],
                    is_there=row["state"] in ("promised", "answered", "pushing", "delivered"),
                    labelled=rows.labelled(row),
                )
                for row in found
            ]

    @property
    def _lock(self) -> Any:
        return func.hashtextextended(f"label-studio-tasks:{self._connection_id}", 0)

    @property
    def _ours(self) -> Any:
        return label_studio_tasks.c.connection_id == self._connection_id

    def _these(self, keys: Collection[Key], version: str) -> Any:
        """The rows with these keys; two arrays carry them, as a statement takes no more than 65,535 parameters."""
        arrays = _arrays(keys)
        ids, digests = literal(arrays["task_ids"], ARRAY(BigInteger)), literal(arrays["digests"], ARRAY(Text))
        named = func.unnest(ids, digests).table_valued("task_id", "digest").render_derived()
        pair = tuple_(label_studio_tasks.c.task_id, label_studio_tasks.c.digest)
        return (
            self._ours & (label_studio_tasks.c.version == version) & pair.in_(select(named.c.task_id, named.c.digest))
        )


def arrives_s(predictions: int) -> float:
    """After how many seconds an answer to ``/predict`` may be taken for lost, of which nothing has been seen."""
    return _ARRIVES_S + _ARRIVES_S_PER_TASK * predictions


def item_id(task_id: int, digest: str) -> str:
    """What the item of a task is called: a task whose data was changed is another item."""
    return f"task-{task_id}-{digest[:8]}"


async def _post(
    connection: AsyncConnection, run_id: str, task: Task, found: Sequence[Item], *, connection_id: str
) -> None:
    """Let a run over these items wait for a worker."""
    row = {
        "id": storable(run_id),
        "name": "label-studio",
        "task": task,
        "source": {"drop": f"label-studio:{connection_id}"},
        "status": "queued",
        "is_posted": True,
        "is_listed": True,
    }
    await connection.execute(insert(runs).values(row))
    await list_all(connection, run_id, task, found)


def _arrays(keys: Iterable[Key]) -> dict[str, list[Any]]:
    in_order = sorted(keys)  # in one order, so that two calls never wait for each other
    return {"task_ids": [task_id for task_id, _ in in_order], "digests": [digest for _, digest in in_order]}


_THESE = """connection_id = :connection_id AND version = :version
    AND (task_id, digest) IN (SELECT given.* FROM unnest(:task_ids, :digests) AS given (task_id, digest))"""


def _statement(sql: str) -> TextClause:
    sql = sql.replace(":these", _THESE)
    given = text(sql)
    arrays = {"task_ids": ARRAY(BigInteger), "digests": ARRAY(Text), "item_ids": ARRAY(Text)}
    return given.bindparams(*(bindparam(name, type_=arrays[name]) for name in arrays if f":{name}" in sql))


_NOW = func.clock_timestamp()
_STATE = label_studio_tasks.c.state
_KEY_COLUMNS = (label_studio_tasks.c.task_id, label_studio_tasks.c.version, label_studio_tasks.c.digest)
_OF_TASK = (
    (prelabels.c.run_id == label_studio_tasks.c.run_id)
    & (prelabels.c.item_id == label_studio_tasks.c.item_id)
    & (prelabels.c.task == label_studio_tasks.c.task)
)
_LABELLED = select(*_KEY_COLUMNS, *rows.ITEM_COLUMNS, *rows.PRE_LABEL_COLUMNS, *rows.DECISION_COLUMNS).select_from(
    label_studio_tasks.join(prelabels, _OF_TASK)
    .join(items, (items.c.run_id == prelabels.c.run_id) & (items.c.id == prelabels.c.item_id))
    .join(decisions, decisions.c.prelabel_id == prelabels.c.id)
)

# What has no row yet; what has failed; and what is open though nobody works on it any more, such as after a crash.
_BEGIN = _statement("""
INSERT INTO label_studio_tasks AS ours
    (connection_id, task_id, version, digest, task, run_id, item_id, held_until)
SELECT :connection_id, given.task_id, :version, given.digest, :task, :run_id, given.item_id,
    clock_timestamp() + :held_s * interval '1 second'
FROM unnest(:task_ids, :digests, :item_ids) AS given (task_id, digest, item_id)
ON CONFLICT (connection_id, task_id, version, digest) DO UPDATE
SET task = excluded.task, run_id = excluded.run_id, item_id = excluded.item_id, state = 'open',
    held_until = excluded.held_until, changed_at = clock_timestamp()
WHERE ours.state = 'failed' OR (
    ours.state = 'open' AND NOT EXISTS (
        SELECT FROM prelabels AS made
        WHERE made.run_id = ours.run_id AND made.item_id = ours.item_id AND made.task = ours.task
    ) AND (
        NOT EXISTS (
            SELECT FROM runs WHERE runs.id = ours.run_id AND runs.is_posted AND runs.status IN ('queued', 'running')
        ) OR EXISTS (
            SELECT FROM failures AS failed
            WHERE failed.run_id = ours.run_id AND failed.item_id = ours.item_id AND failed.task = ours.task
                AND failed.retry_s IS NULL
        )
    )
)
RETURNING task_id, digest
""")

_HOLD = _statement("""
UPDATE label_studio_tasks SET held_until = greatest(held_until, clock_timestamp() + :held_s * interval '1 second')
WHERE :these AND state = 'open' AND task = :task
""")

_FINISHED = _statement("""
SELECT task_id, digest FROM label_studio_tasks AS ours
WHERE :these AND (
    EXISTS (
        SELECT FROM prelabels AS made
        WHERE made.run_id = ours.run_id AND made.item_id = ours.item_id AND made.task = ours.task
    ) OR EXISTS (
        SELECT FROM failures AS failed
        WHERE failed.run_id = ours.run_id AND failed.item_id = ours.item_id AND failed.task = ours.task
            AND failed.retry_s IS NULL
    )
)
""")

_PROMISE = _statement("""
UPDATE label_studio_tasks
SET state = 'promised', held_until = clock_timestamp() + :held_s * interval '1 second', changed_at = clock_timestamp()
WHERE :these
    AND state <> 'pushing'
    AND NOT (state = 'delivered' AND changed_at > :began_at - :just_s * interval '1 second')
    AND (:is_alone OR NOT (state IN ('promised', 'answered') AND held_until > clock_timestamp()))
RETURNING task_id, digest
""")

_WAIT_FOR_THE_REST = text("""
UPDATE label_studio_tasks SET held_until = clock_timestamp() + :on_s * interval '1 second'
WHERE connection_id = :connection_id AND version = :version
    AND state IN ('promised', 'answered') AND held_until <= clock_timestamp()
    AND run_id IN (
        SELECT arrived.run_id FROM label_studio_tasks AS arrived JOIN runs ON runs.id = arrived.run_id
        WHERE arrived.connection_id = :connection_id AND arrived.version = :version AND arrived.state = 'delivered'
            AND arrived.changed_at > clock_timestamp() - :on_s * interval '1 second' AND runs.is_posted
    )
""")

_ADOPT = (
    insert_rows(
        *(label_studio_tasks, "connection_id", "task_id", "version", "digest"),
        *("task", "run_id", "item_id", "state"),
        held_until=_NOW,
    )
    .on_conflict_do_nothing()
    .returning(label_studio_tasks.c.task_id)
)

_IS_OWING = text("""
SELECT EXISTS (
    SELECT FROM label_studio_tasks AS ours
    WHERE connection_id = :connection_id AND state = 'open' AND held_until <= clock_timestamp() AND (
        EXISTS (
            SELECT FROM prelabels AS made
            WHERE made.run_id = ours.run_id AND made.item_id = ours.item_id AND made.task = ours.task
        ) OR EXISTS (
            SELECT FROM failures AS failed
            WHERE failed.run_id = ours.run_id AND failed.item_id = ours.item_id AND failed.task = ours.task
                AND failed.retry_s IS NULL
        )
    )
)
""")

_SET_FAILED_ASIDE = text("""
UPDATE label_studio_tasks AS ours SET state = 'failed', changed_at = clock_timestamp()
WHERE connection_id = :connection_id AND state = 'open' AND held_until <= clock_timestamp()
    AND EXISTS (
        SELECT FROM failures AS failed
        WHERE failed.run_id = ours.run_id AND failed.item_id = ours.item_id AND failed.task = ours.task
            AND failed.retry_s IS NULL
    )
""")
