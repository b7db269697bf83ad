"""Staffs a run with workers on a Ray cluster: one that is there, or one of this machine alone."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from models.errors import ConfigError
from pipelines.workers.pool import Crew, WorkerPool
from serving.labeller import Job, Labeller
from serving.local_cluster import local_cluster
from serving.ray_flags import COMMON
from serving.settings import Settings

LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staffing:
    """How many workers label a drop, and where.

    ``workers`` is the most there may be; None for as many as the cluster's nodes have room for, which is asked again as
    nodes join and leave. ``cluster`` is the address of a Ray cluster, as ray.init takes it, or "local" for a new one on
    this machine.
    """

    workers: int | None = None
    cluster: str = LOCAL


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
    import ray

    try:
        ray.init(staffing.cluster, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as err:
        raise ConfigError(f"no Ray cluster can be joined at '{staffing.cluster}': {err}") from err
    try:
        yield
    finally:
        ray.shutdown()
