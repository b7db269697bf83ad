"""Serves the demo's real models in this process, behind the real routes and a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn

from models.engine import Engine
from pipelines.local import LocalModels
from pipelines.types import ModelUse
from serving.deployments import ReplicaState
from serving.ingress import make_api
from serving.service import Service, open_service
from serving.settings import Settings


class EngineModels(LocalModels):
    """The models of a configuration, which also say how their engines do, as replicas behind handles would."""

    def __init__(self, settings: Settings) -> None:
        super().__init__({card.name: card for card in settings.models}, settings.lock_file, settings.media)

    async def states(self) -> dict[str, ReplicaState]:
        own = {name: ReplicaState(use=None, engine=None, problem="not loaded") for name in self._cards}
        return own | {name: _state(engine, use) for name, (engine, use) in self._loaded.items()}

    def room_in_s(self, model: str) -> float | None:
        return None


def _state(engine: Engine, use: ModelUse) -> ReplicaState:
    return ReplicaState(use=use, engine=engine.stats(), problem=None)


@contextmanager
def a_service(settings: Settings) -> Iterator[str]:
    """The address of a service that runs."""
    models = EngineModels(settings)
    for card in settings.models:  # before anybody waits for an answer
        if card.task in ("detection", "segmentation"):
            models.use_of(card.name)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        async with open_service(settings, models) as service:
            yield service
        await models.close()

    api = make_api(opened, settings.server)
    if not any(getattr(route, "path", "").startswith("/cvat") for route in api.routes):
        from serving.integrations.cvat.routes import routes

        api.include_router(routes, prefix="/cvat/{task}")
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def forward_calls(address: str, model: str) -> tuple[int, int]:
    """How many forward passes a model's engine has made, and of how many items."""
    models = httpx.get(f"{address}/v1/models", timeout=30).raise_for_status().json()["models"]
    engine = next(own["engine"] for own in models if own["name"] == model)
    return (0, 0) if engine is None else (sum(engine["batch_sizes"].values()), engine["items"])
