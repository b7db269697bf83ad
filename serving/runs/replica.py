"""Hosts the workers of posted runs and of connected projects in a Ray Serve replica: a thin shell that nobody calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from serving.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application

RUNS = "runs"
_POOLED = 8  # connections to the store, and as many in need
_POOLED_PER_RUN = 2  # one of which holds the run


class RunReplica:
    """The process that works on posted runs, beside the gateways, so that no call waits for a drop."""

    def __init__(self, settings: Settings) -> None:
        self._working = asyncio.get_running_loop().create_task(_work(settings))

    async def check_health(self) -> None:
        """Raise RuntimeError when nothing is worked on any more, so that Serve starts another."""
        if self._working.done():
            raise RuntimeError("the worker of runs has ended") from self._working.exception()


async def _work(settings: Settings) -> None:
    from pipelines.store.store import Store
    from serving.handles import ServeModels
    from serving.integrations.label_studio.media import ConnectionMedia
    from serving.integrations.label_studio.worker import LabelStudioWorker
    from serving.runs.worker import RunWorker
    from serving.service import flow_over, store_url

    pool_size = _POOLED + _POOLED_PER_RUN * settings.server.max_runs
    models = await ServeModels.connect(settings.cards)
    with store_url(settings) as url:
        async with (
            Store.open(url, pool_size=pool_size) as store,
            flow_over(settings, models, store) as flow,
            ConnectionMedia(settings.fetch) as media,
            asyncio.TaskGroup() as workers,
        ):
            runs = RunWorker(settings, models=models, store=store, flow=flow, media=media)
            projects = LabelStudioWorker(settings, models=models, store=store, flow=flow)
            workers.create_task(runs.work())
            workers.create_task(projects.work())


def run_application(settings: Settings) -> Application:
    """The Serve application that works on posted runs."""
    from ray import serve

    deployment = serve.deployment(
        name=RUNS,
        num_replicas=1,
        health_check_period_s=5,
        graceful_shutdown_wait_loop_s=0.1,
        ray_actor_options={"num_cpus": 0},
    )(RunReplica)
    return deployment.bind(settings)
