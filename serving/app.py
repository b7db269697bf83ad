"""Builds the Ray Serve applications from the settings: one per model version, one for runs and projects, a gateway."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from models.card import ModelCard
from serving.crashes import CrashLog
from serving.deployments import application_name, model_application
from serving.runs.replica import RUNS, run_application
from serving.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from fastapi import FastAPI
    from ray.serve import Application, RunTarget

    from serving.metrics import Counts
    from serving.service import Service

GATEWAY = "gateway"


# A run has a logging configuration of its own, and without one Serve writes every request and call into a file.
LOGGING = {"log_level": "WARNING", "enable_access_log": False}
_COUNTS_S = 5.0
_OTHER_CALLS = 1_000  # Serve's own bound stands behind ours, which says when to come again
# More objects than 256 calls in work have. With Python's own 700 every tenth call brought a collection that had to look
# at those of all the others, which took 16 to 20 % of a busy gateway's time; with 100,000 it was 1 %.
_GARBAGE = 100_000


class Gateway:
    """The HTTP side of the service, in replicas of its own; they and the worker of runs alone touch the database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._api: FastAPI | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        from serving.ingress import make_api

        is_alone = self._settings.server.gateways == 1
        self._api = make_api(self._open, self._settings.server, None if is_alone else _counts_of_all)
        return self._api

    def counts(self) -> Counts:
        """What this process has counted."""
        return self._api.state.metrics.counts() if self._api else ()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Service]:
        from serving.handles import ServeModels
        from serving.service import open_service

        models = await ServeModels.connect(self._settings.cards)
        async with open_service(self._settings, models) as service:
            _collect_seldom()
            yield service


def _collect_seldom() -> None:
    """Look for garbage in cycles only when much has gathered; what is loaded by now is none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)


async def _counts_of_all() -> Iterable[Counts]:
    """What all gateways have counted."""
    from ray import serve

    counts = serve.get_deployment_handle(GATEWAY, GATEWAY).broadcast("counts")
    return await counts.results_async(timeout_s=_COUNTS_S)


def build(settings: Settings, *, folder: Path) -> list[RunTarget]:
    """Every application of the service, the models first.

    Args:
        settings: what to deploy.
        folder: this start's own, where a node keeps what its replicas tell their successors.
    """
    from ray.serve import RunTarget

    targets = [
        RunTarget(
            target=model_application(
                card, lock_file=settings.lock_file, media=settings.media, crashes=_crashes(settings, card, folder)
            ),
            name=application_name(card),
            route_prefix=None,
            logging_config=LOGGING,
        )
        for card in settings.models
    ]
    runs = RunTarget(target=run_application(settings), name=RUNS, route_prefix=None, logging_config=LOGGING)
    gateway = RunTarget(target=_gateway(settings), name=GATEWAY, route_prefix="/", logging_config=LOGGING)
    return [*targets, runs, gateway]


def _crashes(settings: Settings, card: ModelCard, folder: Path) -> CrashLog:
    return CrashLog(folder / "crashes" / application_name(card), most=settings.server.max_crashes)


def _gateway(settings: Settings) -> Application:
    from ray import serve

    deployment = serve.deployment(
        name=GATEWAY,
        num_replicas=settings.server.gateways,
        max_ongoing_requests=settings.server.max_calls + _OTHER_CALLS,
        graceful_shutdown_wait_loop_s=0.1,
        ray_actor_options={"num_cpus": 0},
    )(serve.ingress()(Gateway))
    return deployment.bind(settings)
