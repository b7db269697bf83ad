"""Keeps the runs that were posted to a service, and lets one worker of one service take each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict

from sqlalchemy import ARRAY, Text, any_, cast, func, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Task
from pipelines.errors import ConflictError
from pipelines.progress import Progress
from pipelines.store import engine as database
from pipelines.store.hold import held
from pipelines.store.jsonb import storable
from pipelines.store.store import Store, no_run
from pipelines.store.tables import failures, runs
from pipelines.store.values import Run, RunStatus

_TO_WORK_ON = (runs.c.is_posted, runs.c.status.in_(("queued", "running")))
_MOST = 1_000  # runs that are looked at for one that nobody holds


class PostedRuns:
    """The runs that came to a service over HTTP, in the store.

    They are apart from the runs of the command line, which belong to the process that began them and to its folder.
    """

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def post(self, run_id: str, *, name: str, task: Task, source: Mapping[str, str]) -> bool:
        """Let a new run wait for a worker; whether it is new, which it is not where there is a run with this id."""
        row = {
            "id": storable(run_id),
            "name": storable(name),
            "task": task,
            "source": {key: storable(value) for key, value in source.items()},
            "status": "queued",
            "is_posted": True,
        }
        async with database.transaction(self._engine) as connection:
            made = await connection.execute(insert(runs).values(row).on_conflict_do_nothing().returning(runs.c.id))
            return made.first() is not None

    async def to_work_on(self, tasks: Collection[Task]) -> list[str]:
        """The runs for these tasks that wait, or are worked on and may have lost their worker, oldest first."""
        query = select(runs.c.id).where(*_TO_WORK_ON, runs.c.task == any_(cast(list(tasks), ARRAY(Text))))
        async with database.reading(self._engine) as connection:
            found = await connection.execute(query.order_by(runs.c.created_at, runs.c.id).limit(_MOST))
            return list(found.scalars())

    @asynccontextmanager
    async def take(self, run_id: str, *, worker: str) -> AsyncIterator[Run | None]:
        """Be the only one who works on a run, if nobody does and there is something to do; else yields None.

        Every change to the run must name its attempt, as the hold is lost when the database goes down.
        """
        async with held(self._engine, run_id) as connection:
            yield None if connection is None else await _taken(connection, run_id, worker)

    async def describe(self, run: Run, *, source: Mapping[str, str], fingerprint: Mapping[str, str]) -> None:
        """Note what a run's first attempt found: where its items come from, and what labels them."""
        stored = {key: storable(value) for key, value in source.items()}
        await self._change(run, source=stored, fingerprint=dict(fingerprint))

    async def tell(self, run: Run, progress: Progress) -> None:
        """Note how far a run is."""
        await self._change(run, progress=asdict(progress))

    async def finish(self, run: Run, *, status: RunStatus, reason: str | None = None) -> None:
        """Note that a run has ended, and why, if it has failed as a whole. A run that another has taken stays his."""
        await self._change(
            run, status=status, reason=None if reason is None else storable(reason), finished_at=func.now()
        )

    async def _change(self, run: Run, **values: object) -> None:
        ours = (runs.c.id == run.id, runs.c.attempt == run.attempt, runs.c.status == "running")
        async with database.transaction(self._engine) as connection:
            await connection.execute(update(runs).where(*ours).values(**values))

    async def redrive(self, run_id: str, *, codes: Collection[str]) -> int:
        """Let a run that is over go on, with the items that have failed with these codes; how many that are.

        Raises:
            NotFoundError: no such run was posted.
            ConflictError: it is not over (run_not_over).
        """
        run_id = storable(run_id)
        this = (runs.c.id == run_id, runs.c.is_posted)
        these = (failures.c.run_id == run_id, failures.c.code == any_(cast(list(codes), ARRAY(Text))))
        waits = {"status": "queued", "is_stopping": False, "finished_at": None, "reason": None}
        async with database.transaction(self._engine) as connection:
            found = await connection.execute(select(runs.c.status).where(*this).with_for_update(key_share=True))
            status = found.scalar()
            if status is None:
                raise no_run(run_id)
            if status in ("queued", "running"):
                raise ConflictError("run_not_over", f"run '{run_id}' is {status}; wait until it is over, or stop it")
            driven = await connection.execute(update(failures).where(*these).values(attempts=0, retry_s=0.0))
            await connection.execute(update(runs).where(*this).values(waits))
            return driven.rowcount


async def _taken(connection: AsyncConnection, run_id: str, worker: str) -> Run | None:
    """The run as a new attempt; None where there is nothing to do, or somebody wanted it to end."""
    this = (runs.c.id == storable(run_id), *_TO_WORK_ON)
    ends = {"status": "cancelled", "finished_at": func.now()}
    await connection.execute(update(runs).where(*this, runs.c.is_stopping).values(ends))
    begins = {"attempt": runs.c.attempt + 1, "status": "running", "worker": storable(worker), "progress": null()}
    row = (await connection.execute(update(runs).where(*this).values(begins).returning(*runs.c))).mappings().first()
    return None if row is None else Run(**row)
