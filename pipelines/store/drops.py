"""Keeps the listing of a drop, says what of it is still to be done, and lets one process at a time work on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import ARRAY, Text, any_, cast, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Task
from pipelines.errors import ConflictError
from pipelines.remarks import FindingCount, Remarks, UnmappedCount
from pipelines.store import engine as database
from pipelines.store import queries, rows
from pipelines.store.hold import held
from pipelines.store.jsonb import storable
from pipelines.store.store import Store, no_run
from pipelines.store.tables import embeddings, failures, items, prelabels, runs
from pipelines.store.values import ErrorCount, Run, StoredFailure
from pipelines.types import PreLabel

_LOCK_S = 2.0


class Drops:
    """The runs over drops, in the store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def begin(
        self,
        run_id: str,
        *,
        name: str,
        task: Task,
        source: Mapping[str, str],
        fingerprint: Mapping[str, str],
    ) -> None:
        """Note a new run that its maker works on at once; see PostedRuns for those that wait.

        Args:
            source: where its items come from.
            fingerprint: what labels them; a run goes on only with the same.

        Raises:
            ConflictError: there is a run with this id (run_exists).
        """
        row = {
            "id": storable(run_id),
            "name": storable(name),
            "task": task,
            "source": {key: storable(value) for key, value in source.items()},
            "fingerprint": dict(fingerprint),
        }
        async with database.transaction(self._engine) as connection:
            new = insert(runs).values(row).on_conflict_do_nothing().returning(runs.c.id)
            if (await connection.execute(new)).first() is None:
                raise ConflictError("run_exists", f"there is a run '{run_id}' already; resume it, or take another id")

    @asynccontextmanager
    async def hold(self, run_id: str, *, worker: str) -> AsyncIterator[int]:
        """Be the only one who works on a run; yields the number of this attempt, which every save must name.

        The hold is a lock of the database session, so it ends with the process, however that ends. When the database
        itself goes down the lock is gone, and the attempt's number keeps a later worker's results apart from ours.

        Raises:
            ConflictError: somebody works on it (run_is_held).
            NotFoundError: no such run.
        """
        async with held(self._engine, run_id, wait_s=_LOCK_S) as connection:
            if connection is None:
                raise await self._is_held(run_id)
            yield await _new_attempt(connection, run_id, worker)

    async def _is_held(self, run_id: str) -> ConflictError:
        this = select(runs.c.worker).where(runs.c.id == storable(run_id))
        async with database.reading(self._engine) as connection:
            worker = (await connection.execute(this)).scalar()
        return ConflictError(
            "run_is_held", f"run '{run_id}' is being worked on by {worker}; wait until that ends, or end it first"
        )

    async def runs(self, *, limit: int = 100) -> list[Run]:
        """The runs over drops, newest first."""
        newest = select(runs).where(runs.c.task.is_not(None)).order_by(runs.c.created_at.desc(), runs.c.id)
        async with database.reading(self._engine) as connection:
            return [Run(**row) for row in (await connection.execute(newest.limit(limit))).mappings()]

    async def known(self, run_id: str, digests: Collection[str]) -> dict[str, PreLabel]:
        """What the run has said of these contents already, by digest."""
        these = (prelabels.c.run_id == storable(run_id), any_(cast(list(digests), ARRAY(Text))) == _DIGEST)
        first = select(func.min(prelabels.c.id)).where(*these).group_by(_DIGEST)
        columns = (*rows.PRE_LABEL_COLUMNS, *rows.EMBEDDING_COLUMNS, _DIGEST.label("digest"))
        found = select(*columns).select_from(prelabels.outerjoin(embeddings)).where(prelabels.c.id.in_(first))
        async with database.reading(self._engine) as connection:
            return {row["digest"]: _embedded(row) for row in (await connection.execute(found)).mappings()}

    async def is_stopping(self, run_id: str) -> bool:
        """Whether somebody wants the run to end."""
        async with database.reading(self._engine) as connection:
            found = await connection.execute(select(runs.c.is_stopping).where(runs.c.id == storable(run_id)))
            return bool(found.scalar())

    async def stop(self, run_id: str) -> None:
        """Ask whoever works on a run to end after the batches in flight; one that waits for somebody is over at once.

        A run that has ended stays as it is.

        Raises:
            NotFoundError: no such run.
        """
        this = runs.c.id == storable(run_id)
        over = {"status": "cancelled", "is_stopping": True, "finished_at": func.now()}
        async with database.transaction(self._engine) as connection:
            status = (
                await connection.execute(select(runs.c.status).where(this).with_for_update(key_share=True))
            ).scalar()
            if status is None:
                raise no_run(run_id)
            if status == "queued":
                await connection.execute(update(runs).where(this).values(over))
            elif status == "running":
                await connection.execute(update(runs).where(this).values(is_stopping=True))

    async def errors(
        self, run_id: str, *, code: str | None = None, after: str = "", limit: int = 1_000
    ) -> list[StoredFailure]:
        """A page of the items that have failed, by their ids."""
        query = (
            select(failures, items.c.uri)
            .select_from(failures.join(items))
            .where(failures.c.run_id == storable(run_id), failures.c.item_id > storable(after))
            .order_by(failures.c.item_id)
            .limit(limit)
        )
        if code is not None:
            query = query.where(failures.c.code == storable(code))
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(query)).mappings()
            return [_stored_failure(row) for row in found]

    async def error_counts(self, run_id: str) -> list[ErrorCount]:
        """How many items have failed, code by code."""
        query = (
            select(failures.c.code, func.count(), func.count(failures.c.retry_s))
            .where(failures.c.run_id == storable(run_id))
            .group_by(failures.c.code)
            .order_by(failures.c.code)
        )
        async with database.reading(self._engine) as connection:
            found = await connection.execute(query)
            return [ErrorCount(code=code, items=count, retrying=retrying) for code, count, retrying in found]

    async def remarks(self, run_id: str) -> Remarks:
        """What the rules have found in the run's pre-labels, and the labels that mean no class, counted."""
        this = {"run_id": storable(run_id)}
        async with database.reading(self._engine) as connection:
            findings = (await connection.execute(queries.COUNT_FINDINGS, this)).mappings()
            unmapped = (await connection.execute(queries.COUNT_UNMAPPED, this)).mappings()
            return Remarks.of((FindingCount(**row) for row in findings), (UnmappedCount(**row) for row in unmapped))

    async def redrive(self, run_id: str, *, codes: Collection[str]) -> int:
        """Let the items that have failed with these codes be tried again from the start; how many that are."""
        these = (failures.c.run_id == storable(run_id), failures.c.code == any_(cast(list(codes), ARRAY(Text))))
        async with database.transaction(self._engine) as connection:
            done = await connection.execute(update(failures).where(*these).values(attempts=0, retry_s=0.0))
            return done.rowcount


_DIGEST = prelabels.c.provenance["item_digest"].astext


async def _new_attempt(connection: AsyncConnection, run_id: str, worker: str) -> int:
    begun = {
        "attempt": runs.c.attempt + 1,
        "status": "running",
        "finished_at": None,
        "is_stopping": False,
        "reason": None,
        "worker": storable(worker),
    }
    this = runs.c.id == storable(run_id)
    attempt = (await connection.execute(update(runs).where(this).values(begun).returning(runs.c.attempt))).scalar()
    if attempt is None:
        raise no_run(run_id)
    return attempt


def _embedded(row: Any) -> PreLabel:
    """A pre-label as it was said, with its item's embedding."""
    pre_label = rows.pre_label(row)
    return replace(pre_label, prediction=replace(pre_label.prediction, embedding=rows.embedding(row)))


def _stored_failure(row: Any) -> StoredFailure:
    return StoredFailure(
        item_id=row["item_id"], uri=row["uri"], failure=rows.failure(row), is_retried=row["retry_s"] is not None
    )
