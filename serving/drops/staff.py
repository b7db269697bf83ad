"""Staffs a run with workers on a Ray cluster: one that is there, or one of this machine alone."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice

from models.errors import ConfigError
from pipelines.sources.source import Source
from pipelines.store.listing import Listing
from pipelines.store.store import Store
from pipelines.store.values import Run
from pipelines.workers.pool import Crew, WorkerPool
from serving.drops.labeller import Job, Labeller
from serving.local_cluster import local_cluster
from serving.ray_flags import COMMON
from serving.settings import Settings

LOCAL = "local"
_ANSWER_S = 5.0
_FEW = 1_000  # items, which a model has labelled before a cluster has started


@dataclass(frozen=True, slots=True, kw_only=True)
class Staffing:
    """How many workers label a drop, and where.

    ``workers`` is the most there may be; None for as many as the cluster's nodes have room for, which is asked again as
    nodes join and leave. ``cluster`` is the address of a Ray cluster, as ray.init takes it, or "local" for a new one on
    this machine.
    """

    workers: int | None = None
    cluster: str = LOCAL


async def needed(staffing: Staffing | None, store: Store, run: Run | None, source: Source) -> Staffing | None:
    """The workers, unless a drop is so small that it is done before a cluster of this machine has started.

    Args:
        run: what is gone on with; where its listing is complete, the source is not looked at.
    """
    if staffing is None or staffing.cluster != LOCAL:
        return staffing
    if run is not None and run.is_listed:
        items = await Listing(store).count(run.id)
    else:
        items = await asyncio.to_thread(lambda: sum(1 for _ in islice(source.entries(), _FEW + 1)))
    return staffing if items > _FEW else None


@asynccontextmanager
async def staffed(settings: Settings, staffing: Staffing, job: Job) -> AsyncIterator[WorkerPool]:
    """Workers for a run; the cluster is left, or ended, with the context.

    Raises:
        ConfigError: no cluster answers, or its nodes cannot reach the store.
    """
    cards = [settings.cards[model] for model in settings.tasks[job.task]]
    cpus, gpus = sum(card.num_cpus for card in cards), sum(card.num_gpus for card in cards)
    batch_items = min(card.limits.max_items for card in cards)
    with _joined(staffing, cpus=math.ceil(cpus * (staffing.workers or 1))):
        from pipelines.workers.nodes import Needs, check_store, room_for
        from pipelines.workers.ray_worker import RayWorker

        check_store(is_embedded=settings.store.url is None)
        needs = Needs(cpus=cpus, gpus=gpus)
        crew = Crew(most=lambda: staffing.workers or room_for(needs), batch_items=batch_items)
        pool = WorkerPool(lambda: RayWorker(Labeller, needs, job), crew)
        try:
            yield pool
        finally:
            await pool.close()


@contextmanager
def _joined(staffing: Staffing, *, cpus: int) -> Iterator[None]:
    if staffing.cluster == LOCAL:
        os.environ.update(COMMON)  # before Ray is imported
        with local_cluster(num_cpus=max(os.cpu_count() or 1, cpus)):
            yield
        return
    _check_answers(staffing.cluster)
    import ray

    try:
        ray.init(staffing.cluster, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as err:
        raise ConfigError(f"no Ray cluster can be joined at '{staffing.cluster}': {err}") from err
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(cluster: str) -> None:
    """Ray itself tries an address where nobody listens for minutes, and then aborts the process."""
    host, _, port = cluster.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # such as "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as err:
        message = (
            f"no Ray cluster can be joined at '{cluster}': {err}; give its head node's address, as 'ray start' says it"
        )
        raise ConfigError(message) from err
