"""Labels a drop in this process, without a service: the same flow over local engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from models.types import Item, Task
from pipelines.errors import StoreUnavailableError
from pipelines.formats.results import Result, result
from pipelines.local import LocalModels
from pipelines.prelabel import Flow, Request, pre_label_all
from pipelines.store.store import Store
from pipelines.store.values import QueueOverview
from serving.profiles import profiled
from serving.service import flow_over, store_url
from serving.settings import Settings

_ITEMS_AT_ONCE = 32


def label_drop(
    settings: Settings, items: Sequence[Item], task: Task, drop: str, *, on_done: Callable[[], None]
) -> tuple[list[Result], float]:
    """Label the items of a drop and store what came out.

    Returns:
        The results in the items' order, and the seconds spent on labelling once the models were loaded.
    """
    return asyncio.run(_label_drop(profiled(settings), items, task, drop, on_done))


def queue_overview(settings: Settings) -> list[QueueOverview]:
    """The review queues of the settings' store."""

    async def read() -> list[QueueOverview]:
        async with _store(settings) as store:
            return await store.queues()

    return asyncio.run(read())


async def _label_drop(
    settings: Settings, items: Sequence[Item], task: Task, drop: str, on_done: Callable[[], None]
) -> tuple[list[Result], float]:
    models = LocalModels(settings.cards, settings.lock_file, settings.media)
    async with _store(settings) as store, flow_over(settings, models, store) as flow:
        try:
            for model in settings.tasks[task]:
                models.use_of(model)  # loads it
            async with _run(store, drop) as run_id:
                start = time.perf_counter()
                at_once = min(_ITEMS_AT_ONCE, *(settings.cards[m].limits.max_queue for m in settings.tasks[task]))
                results = await _label_items(items, task, flow, run_id=run_id, at_once=at_once, on_done=on_done)
                return results, time.perf_counter() - start
        finally:
            await models.close()


async def _label_items(
    items: Sequence[Item], task: Task, flow: Flow, *, run_id: str, at_once: int, on_done: Callable[[], None]
) -> list[Result]:
    """Label the items; at most ``at_once`` are on their way, so that no model's queue is ever full."""
    slots = asyncio.Semaphore(at_once)

    async def label(item: Item) -> Result:
        async with slots:
            [outcome] = await pre_label_all([Request(item=item, task=task)], flow, run_id=run_id)
        on_done()
        return result(outcome)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(label(item)) for item in items]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures  # the first ended the others; callers know it by its class
    return [task.result() for task in tasks]


@asynccontextmanager
async def _run(store: Store, name: str) -> AsyncIterator[str]:
    """A run that ends as done, or as failed when an exception leaves it."""
    run_id = await store.start_run(name)
    try:
        yield run_id
    except BaseException:
        with suppress(StoreUnavailableError):  # which may be why the run has failed
            await store.finish_run(run_id, status="failed")
        raise
    await store.finish_run(run_id)


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[Store]:
    with store_url(settings) as url:
        async with Store.open(url) as store:
            yield store
