"""Staffs a run with workers on a Ray cluster: one that is there, or one of this machine alone."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice

from models.card import ModelCard
from models.errors import ConfigError
from pipelines.sources.source import Source
from pipelines.store.listing import Listing
from pipelines.store.store import Store
from pipelines.store.values import Run
from pipelines.workers.needs import Needs
from pipelines.workers.pool import Crew, WorkerPool
from serving.drops.labeller import Job, Labeller
from serving.local_cluster import local_cluster
from serving.ray_flags import COMMON
from serving.settings import Settings

LOCAL = "local"
_ANSWER_S = 5.0
_FEW = 1_000  # items, which a quick model has labelled before a cluster has started


@dataclass(frozen=True, slots=True, kw_only=True)
class Staffing:
    """How many workers label a drop, and where.

    ``workers`` is the most there may be; None for as many as the cluster's nodes have room for, which is asked again as
    nodes join and leave. A worker reserves the processors and GPUs of its task's cards, and a whole GPU where the cards
    name no share of one and the cluster has GPUs. ``cluster`` is the address of a Ray cluster, as ray.init takes it, or
    "local" for a new one on this machine.
    """

    workers: int | None = None
    cluster: str = LOCAL


async def needed(staffing: Staffing | None, store: Store, run: Run | None, source: Source) -> Staffing | None:
    """The workers, unless nobody said how many and a drop is so small that a cluster of this machine is not worth it.

    Args:
        run: what is gone on with; where its listing is complete, the source is not looked at.
    """
    if staffing is None or staffing.workers is not None or staffing.cluster != LOCAL:
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
    batch_items = min(card.limits.max_items for card in cards)
    with _joined(staffing, cpus=math.ceil(sum(card.num_cpus for card in cards) * (staffing.workers or 1))):
        from pipelines.workers.nodes import check_store, has_gpus, room_for
        from pipelines.workers.ray_worker import RayWorker

        check_store(is_embedded=settings.store.url is None)
        needs = needs_of(cards, has_gpus=has_gpus())
        if staffing.cluster == LOCAL and not room_for(needs):
            raise ConfigError(f"a worker needs {needs}, and this machine has less; name a cluster, or change the cards")
        crew = Crew(most=lambda: staffing.workers or room_for(needs), batch_items=batch_items)
        pool = WorkerPool(lambda: RayWorker(Labeller, needs, job), crew)
        try:
            yield pool
        finally:
            await pool.close()


def needs_of(cards: Sequence[ModelCard], *, has_gpus: bool) -> Needs:
    """What a worker with these models reserves on its node."""
    gpus = sum(card.num_gpus for card in cards)
    if not gpus and has_gpus and any(card.device != "cpu" for card in cards):
        gpus = 1.0  # else all workers of a node would share its first one
    return Needs(cpus=sum(card.num_cpus for card in cards), gpus=gpus)


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
