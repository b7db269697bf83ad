"""Holds what the HTTP routes call: the flow, the store, the review queue and the models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from models.errors import ConfigError
from pipelines.fetch import Fetcher
from pipelines.prelabel import Flow, Models
from pipelines.reuse import KeptModels, SharedModels
from pipelines.review import ReviewQueue
from pipelines.store.embedded import embedded_postgres
from pipelines.store.results import Results
from pipelines.store.store import Store
from serving.deployments import ReplicaState
from serving.settings import Settings


class DeployedModels(Models, Protocol):
    """Models that can also say how they do."""

    async def states(self) -> dict[str, ReplicaState]: ...

    async def are_ready(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One running service."""

    settings: Settings
    models: DeployedModels
    store: Store
    reviews: ReviewQueue
    flow: Flow


@contextmanager
def store_url(settings: Settings) -> Iterator[str]:
    """The URL of the settings' store; without one, an embedded PostgreSQL runs as long as the context."""
    if settings.store.url is not None:
        yield settings.store.url
        return
    with embedded_postgres(settings.store.folder) as url:
        yield url


@asynccontextmanager
async def open_service(settings: Settings, models: DeployedModels) -> AsyncIterator[Service]:
    """Put a service together around deployed models; the store's URL must be set by now."""
    if settings.store.url is None:
        raise ConfigError("store.url is not set; 'prelabel serve' starts an embedded PostgreSQL and sets it")
    async with Store.open(settings.store.url) as store, flow_over(settings, models, store) as flow:
        yield Service(settings=settings, models=models, store=store, reviews=ReviewQueue(store), flow=flow)


@asynccontextmanager
async def flow_over(settings: Settings, models: Models, store: Store) -> AsyncIterator[Flow]:
    """The flow with the settings' tasks and policies."""
    if settings.store.reuse_days:
        kept = Results(store, most_age=timedelta(days=settings.store.reuse_days))
        await kept.drop_old()
        models = KeptModels(models, kept)
    async with Fetcher(settings.fetch) as fetcher:
        yield Flow(
            fetcher=fetcher,
            models=SharedModels(models),
            tasks=settings.task_cards,
            policies=settings.policies,
            store=store,
            clock=lambda: datetime.now(UTC),
        )
