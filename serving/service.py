"""Holds what the HTTP routes call: the flow, the store, the review queue and the models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from models.errors import ConfigError
from models.types import Task
from pipelines.errors import StoreUnavailableError
from pipelines.fetch import Fetcher
from pipelines.policy import Policy
from pipelines.policy.in_force import InForce, Pinned
from pipelines.prelabel import Flow, Models, Saves
from pipelines.reuse import KeptModels, SharedModels
from pipelines.review import ReviewQueue
from pipelines.store.embedded import embedded_postgres
from pipelines.store.label_studio.connections import Connection
from pipelines.store.policies import Policies
from pipelines.store.results import Results
from pipelines.store.store import Store
from pipelines.types import Outcome
from pipelines.watch import Watch
from serving.backlog import Backlog
from serving.deployments import ReplicaState
from serving.integrations.label_studio.media import ConnectionMedia
from serving.settings import Settings


class DeployedModels(Models, Protocol):
    """Models that can also say how they do."""

    async def states(self) -> dict[str, ReplicaState]: ...

    async def are_ready(self) -> bool: ...

    def room_in_s(self, model: str) -> float | None: ...


class TimedSaves:
    """The flow's store, and how long what waits to be stored will take."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.backlog = Backlog()

    def check_room(self) -> None:
        self._store.check_room()

    async def save(
        self, outcomes: Sequence[Outcome], *, run_id: str | None, begin_by: float | None = None
    ) -> list[Outcome]:
        done = 0
        self.backlog.begin(1)
        try:
            saved = await self._store.save(outcomes, run_id=run_id, begin_by=begin_by)
            done = 1
        finally:
            self.backlog.end(1, done=done)
        return saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One running service."""

    settings: Settings
    models: DeployedModels
    store: Store
    saves: TimedSaves
    reviews: ReviewQueue
    flow: Flow
    watch: Watch
    media: ConnectionMedia

    def flow_for(self, connection: Connection) -> Flow:
        """The flow for a connected project's items, whose media it fetches with the project's token."""
        return replace(self.flow, fetcher=self.media.of(connection))

    def room_in_s(self, tasks: Iterable[Task]) -> float | None:
        """How long what waits for these tasks' models, or to be stored, will take; None where nobody knows."""
        models = {model for task in tasks if task in self.flow.tasks for model in self.flow.tasks[task].models}
        known = [self.saves.backlog.seconds(), *map(self.models.room_in_s, models)]
        return max((seconds for seconds in known if seconds is not None), default=None)


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
    async with Store.open(settings.store.url) as store:
        saves, watch = TimedSaves(store), Watch(store)
        async with (
            ConnectionMedia(settings.fetch) as media,
            flow_over(settings, models, store, saves) as flow,
            watch.watching(),
        ):
            yield Service(
                settings=settings,
                models=models,
                store=store,
                saves=saves,
                reviews=ReviewQueue(store, acceptable=settings.acceptable),
                flow=flow,
                watch=watch,
                media=media,
            )


def in_force(settings: Settings, store: Store, pinned: Mapping[Task, Pinned] | None = None) -> InForce:
    """The policies of the settings' tasks, as the store has them."""
    tasks: Iterable[Task] = settings.tasks if pinned is None else pinned
    configured: dict[Task, Policy] = {task: settings.policies[task] for task in tasks}
    return InForce(Policies(store), configured=configured, terms=settings.certificates, pinned=pinned)


@asynccontextmanager
async def flow_over(
    settings: Settings,
    models: Models,
    store: Store,
    saves: Saves | None = None,
    *,
    pinned: Mapping[Task, Pinned] | None = None,
) -> AsyncIterator[Flow]:
    """The flow with the settings' tasks, under the policies that are in force; it saves to the store itself unless
    told otherwise.

    Args:
        pinned: the policies that a run began with.
    """
    if settings.store.reuse_days:
        kept = Results(store, most_age=timedelta(days=settings.store.reuse_days))
        with suppress(StoreUnavailableError):  # the next start will
            await kept.drop_old()
        models = KeptModels(models, kept)
    async with Fetcher(settings.fetch) as fetcher, in_force(settings, store, pinned).looking() as force:
        yield Flow(
            fetcher=fetcher,
            models=SharedModels(models),
            tasks=settings.task_cards,
            policies=force.policies,
            calibrations=force.calibrations,
            extras=settings.disagreements,
            store=saves or store,
            standards=settings.standards,
            clock=lambda: datetime.now(UTC),
        )
