"""Writes the folder of a run out of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from pipelines.formats import folder, run_manifest
from pipelines.formats.results import result
from pipelines.formats.run_manifest import RunManifest
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from pipelines.store.values import StoredOutcome, TaskCounts
from serving.orders import Order
from serving.settings import Settings

_PAGE = 1_000


async def write_output(
    manifest: RunManifest, store: Store, order: Order, settings: Settings, *, seconds: float
) -> RunManifest:
    """Write the results, the report and run.json; what run.json says."""
    stored = [found.outcome async for found in stored_outcomes(store, manifest.run)]
    results, items = [result(outcome) for outcome in stored], [outcome.item for outcome in stored]
    title = f"{order.drop.rpartition('/')[2]}: {order.task}"
    folder.write(results, items, order.out, title=title, seconds={order.task: seconds}, media=settings.media)
    run = await store.run(manifest.run)
    counts = {counts.task: counts for counts in await store.counts(run.id)}
    finished = replace(
        manifest,
        status=run.status,
        finished_at=run.finished_at,
        seconds=seconds,
        counts=counts.get(order.task, TaskCounts(task=order.task)),
        errors=tuple(await Drops(store).error_counts(run.id)),
    )
    run_manifest.write(finished, order.out)
    return finished


async def stored_outcomes(store: Store, run_id: str) -> AsyncIterator[StoredOutcome]:
    """Everything a run has stored, page by page."""
    after = 0
    while page := await store.results(run_id, after=after, limit=_PAGE):
        for found in page:
            yield found
        after = page[-1].position
