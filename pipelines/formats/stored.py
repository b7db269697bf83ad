"""Reads a run out of the store, as the formats take it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import TypeVar

from sqlalchemy import column, func, select, true
from sqlalchemy.dialects.postgresql import JSONB

from models.errors import ItemError
from models.types import Content, Item
from pipelines.formats.exported import Exported
from pipelines.formats.results import Result, result
from pipelines.prelabel import Fetches
from pipelines.store import engine as database
from pipelines.store.jsonb import storable
from pipelines.store.store import Store
from pipelines.store.tables import prelabels
from pipelines.types import Outcome

_PAGE = 500

T = TypeVar("T")


async def labels_of(store: Store, run_id: str) -> list[str]:
    """Every label that occurs in a run, in alphabetical order."""
    elements = func.jsonb_array_elements(prelabels.c.prediction["annotations"])
    annotation = elements.table_valued(column("value", JSONB)).lateral()
    of_run = prelabels.c.run_id == storable(run_id)
    found = select(annotation.c.value["label"].astext).select_from(prelabels.join(annotation, true())).where(of_run)
    async with database.reading(store.engine) as connection:
        return sorted((await connection.execute(found.distinct())).scalars())


async def with_entries(store: Store, run_id: str, fetcher: Fetches, work: Callable[[Iterable[Exported]], T]) -> T:
    """What the work gives, done in a thread, for the run's entries in the order in which they were stored.

    When this is cancelled the work is, too, at its next page, and never takes that for the end of the entries.

    Args:
        fetcher: opens texts that the store knows by their address alone.
        work: reads the entries once; a page of them is held at a time.
    """
    pages, loop = _pages(store, run_id, fetcher), asyncio.get_running_loop()
    is_given_up = False

    def entries() -> Iterator[Exported]:
        while page := asyncio.run_coroutine_threadsafe(anext(pages, []), loop).result():
            yield from page
            if is_given_up:
                raise _GivenUpError

    working = asyncio.ensure_future(asyncio.to_thread(work, entries()))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        is_given_up = True
        await asyncio.wait([working])  # nothing ends a thread, and what it writes is not done
        working.exception()
        raise
    finally:
        await pages.aclose()


class _GivenUpError(Exception):
    """Nobody wants the entries any more."""


async def _pages(store: Store, run_id: str, fetcher: Fetches) -> AsyncGenerator[list[Exported], None]:
    after = 0
    while page := await store.results(run_id, after=after, limit=_PAGE):
        yield await asyncio.gather(*(_exported(found.outcome, fetcher) for found in page))
        after = page[-1].position


async def _exported(outcome: Outcome, fetcher: Fetches) -> Exported:
    found = result(outcome)
    return Exported(result=found, item=outcome.item, text=await text_of(outcome.item, found, fetcher))


async def text_of(item: Item, found: Result, fetcher: Fetches) -> str | None:
    """A text as the model saw it: what the store holds, or what is still to be found at its address."""
    if item.media != "text" or item.text is not None or found.provenance is None:
        return item.text
    try:
        content: Content = await fetcher.fetch(item)
    except ItemError:
        return None
    is_same = hashlib.sha256(content.data).hexdigest() == found.provenance.item_digest
    return content.data.decode() if is_same else None
