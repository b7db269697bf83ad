"""Builds an API over a real store and models that say what the item's text tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from models.card import ModelCard
from models.errors import ItemError, OverloadedError
from models.types import Annotation, Content, Prediction, Priority, TextSpan
from pipelines.policy import ThresholdPolicy
from pipelines.types import ModelUse
from serving.deployments import ReplicaState
from serving.ingress import make_api
from serving.service import Service, open_service
from serving.settings import ServerSettings, Settings, StoreSettings


class ObedientModels:
    """Labels a text with the score it names.

    "fail" fails, "full" is overloaded, "nothing" has no labels, "wait" sets ``waits`` until it ``goes_on``;
    any longer text has no labels either.
    """

    def __init__(self) -> None:
        self.is_up = True
        self.seconds: float | None = None
        self.waits, self.goes_on = asyncio.Event(), asyncio.Event()
        self.urgencies: list[tuple[Priority, float | None]] = []

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.urgencies.append((priority, deadline_s))
        match content.data.decode():
            case "wait":
                self.waits.set()
                await self.goes_on.wait()
                return Prediction()
            case "fail":
                raise ItemError("model_failed", "told to fail")
            case "full":
                raise OverloadedError
            case "nothing":
                return Prediction(signals={"no_miss": 0.95})
            case text if len(text) > 10:
                return Prediction()
            case text:
                span = Annotation(id="0", label="person", geometry=TextSpan(start=0, end=3), score=float(text))
                return Prediction(annotations=(span,), signals={"min_score": float(text)})

    def use_of(self, model: str) -> ModelUse:
        return ModelUse(name=model, version="1", weights_digest="w" * 64, config_digest="c" * 64)

    async def states(self) -> dict[str, ReplicaState]:
        problem = None if self.is_up else "told to be down"
        return {"tagger": ReplicaState(use=self.use_of("tagger"), engine=None, problem=problem)}

    def room_in_s(self, model: str) -> float | None:
        return self.seconds

    async def are_ready(self) -> bool:
        return self.is_up


def settings_with(store_url: str, **server: object) -> Settings:
    return Settings(
        models=(ModelCard(name="tagger", task="ner", adapter="token_classification", weights="unused"),),
        tasks={"ner": ("tagger",)},
        policies={"ner": ThresholdPolicy(queue="texts", accept_score=0.8, accept_nothing_found=0.9)},
        server=ServerSettings.model_validate(server),
        store=StoreSettings(url=store_url),
        lock_file=Path("unused.lock"),
    )


@asynccontextmanager
async def a_client(settings: Settings, models: ObedientModels | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, in this process, started and ended as a server would."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        async with open_service(settings, models or ObedientModels()) as service:
            yield service

    api = make_api(opened, settings.server)
    transport = httpx.ASGITransport(app=api, raise_app_exceptions=False)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        yield client
