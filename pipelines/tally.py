"""Counts in the store how far a run over a drop is."""

from __future__ import annotations

from models.types import Task
from pipelines.progress import Progress
from pipelines.store.drops import Drops
from pipelines.store.listing import Listing
from pipelines.store.store import Store
from pipelines.store.values import TaskCounts


async def tally(store: Store, run_id: str, task: Task) -> Progress:
    """How far the run is by what is stored; of a million items that takes the database about a second.

    Raises:
        NotFoundError: no such run.
    """
    is_listed = (await store.run(run_id)).is_listed  # asked first, so that it is never said of a part of the listing
    counts = {counts.task: counts for counts in await store.counts(run_id)}
    errors = await Drops(store).error_counts(run_id)
    progress = Progress.of(counts.get(task, TaskCounts(task=task)), retrying=sum(error.retrying for error in errors))
    progress.listed, progress.is_listed = await Listing(store).count(run_id), is_listed
    return progress
