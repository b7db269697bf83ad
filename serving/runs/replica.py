"""Hosts the workers of posted runs and of connected projects in a Ray Serve replica: a thin shell that nobody calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from serving.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application

    from pipelines.prelabel import Flow
    from pipelines.store.store import Store
    from serving.integrations.label_studio.media import ConnectionMedia
    from serving.service import DeployedModels

RUNS = "runs"
_POOLED = 8  # connections to the store, and as many in need
_POOLED_PER_RUN = 2  # one of which holds the run


class Worker(Protocol):
    """What works until it is cancelled."""

    async def work(self) -> None: ...


class RunReplica:
    """The process that works on posted runs and for connected projects, beside the gateways, so that no call waits."""

    def __init__(self, settings: Settings) -> None:
        self._working = asyncio.get_running_loop().create_task(_work(settings))

    async def check_health(self) -> None:
        """Raise RuntimeError when nothing is worked on any more, so that Serve starts another."""
        if self._working.done():
            raise RuntimeError(
                "the workers of runs and of connected projects have ended"
            ) from self._working.exception()


async def _work(settings: Settings) -> None:
    from pipelines.store.store import Store
    from serving.handles import ServeModels
    from serving.integrations.label_studio.media import ConnectionMedia
    from serving.service import flow_over, store_url

    pool_size = _POOLED + _POOLED_PER_RUN * settings.server.max_runs
    models = await ServeModels.connect(settings.cards)
    with store_url(settings) as url:
        async with (
            Store.open(url, pool_size=pool_size) as store,
            flow_over(settings, models, store) as flow,
            ConnectionMedia(settings.fetch) as media,
            asyncio.TaskGroup() as working,
        ):
            for worker in workers(settings, models=models, store=store, flow=flow, media=media):
                working.create_task(worker.work())


def workers(
    settings: Settings, *, models: DeployedModels, store: Store, flow: Flow, media: ConnectionMedia
) -> Sequence[Worker]:
    """What works here for as long as the process lives: for connected projects always, on runs where there is room."""
    from serving.integrations.label_studio.worker import LabelStudioWorker
    from serving.runs.worker import RunWorker

    projects = LabelStudioWorker(settings, models=models, store=store, flow=flow)
    if not settings.server.max_runs:
        return [projects]
    return [projects, RunWorker(settings, models=models, store=store, flow=flow, media=media)]


def run_application(settings: Settings) -> Application:
    """The Serve application that works on posted runs and for connected projects."""
    from ray import serve

    deployment = serve.deployment(
        name=RUNS,
        num_replicas=1,
        health_check_period_s=5,
        graceful_shutdown_wait_loop_s=0.1,
        ray_actor_options={"num_cpus": 0},
    )(RunReplica)
    return deployment.bind(settings)
