"""Exports a run from the store in one of the formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from models.errors import ConfigError
from pipelines.fetch import Fetcher
from pipelines.formats.exported import Exported, LeftOut
from pipelines.formats.registry import format_named
from pipelines.formats.stored import labels_of, with_entries
from pipelines.store.store import Store
from pipelines.types import Route
from serving.drops.orders import Order
from serving.settings import Settings


async def export(
    settings: Settings, store: Store, run_id: str, *, format_name: str, out: Path, routes: Collection[Route] = ()
) -> LeftOut:
    """Write a run's pre-labels into a folder; what the format could not hold.

    Args:
        routes: only items with these decisions; all if empty.

    Raises:
        ConfigError: there is no such format, or it holds nothing of what the run did.
        NotFoundError: there is no such run.
    """
    chosen, run = format_named(format_name), await store.run(run_id)
    tasks = {counts.task for counts in await store.counts(run_id)}
    if not tasks & chosen.TASKS:
        done, wanted = ", ".join(sorted(tasks)) or "nothing", ", ".join(sorted(chosen.TASKS))
        raise ConfigError(f"run '{run_id}' did {done}; the format '{format_name}' holds {wanted}")
    labels, fetch, left_out = await labels_of(store, run_id), settings.fetch, Counter[str]()
    if settings.ontology is not None:
        labels = settings.ontology.in_order(labels)
    with suppress(ConfigError):  # a run of calls has no drop whose texts are opened
        fetch = Order.of(run).opened(fetch)

    def write(entries: Iterable[Exported]) -> LeftOut:
        out.mkdir(parents=True, exist_ok=True)
        wanted = _wanted(entries, chosen.TASKS, routes, left_out)
        return left_out + chosen.write(wanted, labels=labels, out=out)

    async with Fetcher(fetch) as fetcher:
        return await with_entries(store, run_id, fetcher, write)


def _wanted(
    entries: Iterable[Exported], tasks: Collection[str], routes: Collection[Route], left_out: LeftOut
) -> Iterator[Exported]:
    for entry in entries:
        decision = entry.result.decision
        if entry.result.task not in tasks:
            left_out[f"items of the task {entry.result.task}"] += 1
        elif routes and (decision is None or decision.route not in routes):
            left_out["items with another decision"] += 1
        else:
            yield entry
