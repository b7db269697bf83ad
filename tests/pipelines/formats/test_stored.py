"""Tests that who is told to stop reading a run does not take that for the run's end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.formats.exported import Exported
from pipelines.formats.stored import with_entries
from pipelines.store.store import Store
from tests.pipelines.builders import a_labelled, an_item


async def test_a_reading_that_is_cancelled_does_not_end_as_if_it_were_complete(store: Store, run_id: str) -> None:
    await store.save([a_labelled(item=an_item(f"i{n:04}")) for n in range(1_200)], run_id=run_id)
    read, ends = list[str](), list[str]()
    begun, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(entries: Iterable[Exported]) -> None:
        try:
            for entry in entries:
                if not read:
                    loop.call_soon_threadsafe(begun.set)
                    asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
                read.append(entry.result.id)
            ends.append("complete")
        finally:
            ends.append("over")

    async with Fetcher(FetchPolicy()) as fetcher:
        reading = asyncio.create_task(with_entries(store, run_id, fetcher, work))
        await begun.wait()
        reading.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await reading

    assert ends == ["over"]
    assert 0 < len(read) < 1_200
