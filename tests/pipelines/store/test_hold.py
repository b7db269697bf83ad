"""Tests that a run is held by one at a time, and is free again however its holder ends."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from pipelines.store.hold import held
from pipelines.store.store import Store

_ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()"


async def test_one_at_a_time_holds_a_run(store: Store) -> None:
    async with held(store.engine, "one") as first, held(store.engine, "one") as second:
        assert (first is None, second is None) == (False, True)
        async with held(store.engine, "two") as other:
            assert other is not None
    async with held(store.engine, "one") as again:
        assert again is not None


async def test_a_holder_that_is_cut_short_in_a_statement_ends_as_cancelled_and_leaves_the_run(store: Store) -> None:
    async def sleep() -> None:
        async with held(store.engine, "one") as connection:
            assert connection is not None
            await connection.execute(text("SELECT pg_sleep(600)"))

    sleeping = asyncio.create_task(sleep())
    async with store.engine.connect() as connection:
        while not (await connection.execute(text(_ASLEEP))).scalar():
            assert not sleeping.done()
            await connection.rollback()  # or it would be told the same again
    sleeping.cancel()
    await asyncio.wait([sleeping])

    assert sleeping.cancelled()
    async with held(store.engine, "one", wait_s=5.0) as free:
        assert free is not None
