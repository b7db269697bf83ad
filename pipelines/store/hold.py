"""Holds a run for one process, by a lock of its database session, which ends with the process however that ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pipelines.store import engine as database
from pipelines.store.jsonb import storable

_LOOKS = 20  # while it waits

# A node that dies says nothing. Without this the server would keep its lock until TCP gives up, which takes two hours.
_NOTICE_DEATH = text("""
SELECT set_config(name, setting, false) FROM (VALUES
    ('tcp_keepalives_idle', '15'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')
) AS wanted (name, setting)
""")


@asynccontextmanager
async def held(engine: AsyncEngine, run_id: str, *, wait_s: float = 0.0) -> AsyncIterator[AsyncConnection | None]:
    """The connection that holds the run, each of whose statements is committed at once; None if somebody else holds it.

    Args:
        wait_s: how long to try; the server may need a moment to see that the process which had the run is dead.
    """
    async with database.reading(engine) as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        if not await _lock(connection, run_id, wait_s):
            yield None
            return
        try:
            await connection.execute(_NOTICE_DEATH)
            yield connection
        finally:
            if not connection.invalidated:  # then a statement was cut short, and the session with its lock has ended
                with suppress(DBAPIError):  # the database has gone down, and the lock with it
                    await connection.execute(select(func.pg_advisory_unlock(_key(run_id))))
                await connection.invalidate()  # an unlock that did not get through ends with its session


async def _lock(connection: AsyncConnection, run_id: str, wait_s: float) -> bool:
    until = time.monotonic() + wait_s
    while not (await connection.execute(select(func.pg_try_advisory_lock(_key(run_id))))).scalar_one():
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(wait_s / _LOOKS)
    return True


def _key(run_id: str) -> ColumnElement[int]:
    """The number of a run's advisory lock."""
    return func.hashtextextended(storable(run_id), 0)
