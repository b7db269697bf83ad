"""Hosts one model card in a Ray Serve replica: a thin shell around the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from models.card import ModelCard
from models.engine import Engine, EngineStats
from models.errors import ModelError, PrelabelError
from models.media import MediaLimits
from pipelines.local import load_engine
from pipelines.types import ModelUse
from serving.bundles import Answer, Asked
from serving.crashes import CrashLog

if TYPE_CHECKING:
    from ray.serve import Application

DEPLOYMENT = "Model"

OpenEngine = Callable[[], tuple[Engine, ModelUse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """What a replica runs and how it does; ``problem`` says why it does nothing."""

    use: ModelUse | None
    engine: EngineStats | None
    problem: str | None


class ModelReplica:
    """One copy of a model: loaded and warm when the constructor returns.

    A replica whose device is lost fails its health check, and Serve starts another in a new process. When that does not
    help some times in a row, the next replica loads nothing and says why, instead of dying for ever.
    """

    def __init__(self, open_engine: OpenEngine, crashes: CrashLog) -> None:
        self._crashes = crashes
        self._engine: Engine | None = None
        self._use: ModelUse | None = None
        self._has_told = False
        crashes.began()
        self._problem = crashes.verdict()
        if self._problem is None:
            self._open(open_engine)

    def _open(self, open_engine: OpenEngine) -> None:
        try:
            self._engine, self._use = open_engine()
        except Exception as err:
            self._crashes.add(str(err) or type(err).__name__)
            self._crashes.ended()
            raise

    async def predict(self, asked: Sequence[Asked]) -> list[Answer]:
        """Label items. A failure comes back as a value: an exception would cross the wire wrapped in Ray's own."""
        return await asyncio.gather(*map(self._answer, asked))

    async def _answer(self, asked: Asked) -> Answer:
        if self._engine is None:
            return ModelError("model_stopped", f"this model is stopped: {self._problem}")
        try:
            return await self._engine.predict(asked.content, priority=asked.priority, deadline_s=asked.deadline_s)
        except PrelabelError as err:
            return err

    async def state(self) -> ReplicaState:
        """Which bytes and which configuration this replica runs, and how it does."""
        return ReplicaState(
            use=self._use, engine=self._engine.stats() if self._engine else None, problem=self._problem or self._fault()
        )

    async def check_health(self) -> None:
        """Raise RuntimeError when this process cannot compute any more, so that Serve starts another.

        A stopped replica is healthy: nothing would come of another one.
        """
        if fault := self._fault():
            if not self._has_told:
                self._crashes.add(fault)
                self._crashes.ended()
            self._has_told = True
            raise RuntimeError(fault)

    def _fault(self) -> str | None:
        try:
            if self._engine is not None:
                self._engine.check_health()
        except RuntimeError as err:
            return str(err)
        return None

    def __del__(self) -> None:
        """Serve calls this when it ends a replica in good order."""
        self._crashes.ended()


def model_application(card: ModelCard, *, lock_file: Path, media: MediaLimits, crashes: CrashLog) -> Application:
    """The Serve application of one model version."""
    return application(card, partial(load_engine, card, lock_file, media), crashes)


def application(card: ModelCard, open_engine: OpenEngine, crashes: CrashLog) -> Application:
    """An application around whatever opens the card's engine; every option comes from the card."""
    from ray import serve

    deployment = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=card.replicas,
        # The engine has its own bound and answers with an error value; Serve's stand just behind it.
        max_ongoing_requests=card.limits.max_queue + 16,
        max_queued_requests=card.limits.max_queue,
        max_constructor_retry_count=1,  # weights that cannot be loaded now cannot be loaded a second later
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=1,  # three failures in a row end a replica, and a lost device must be seen within 10 s
        health_check_timeout_s=10,
        ray_actor_options=actor_options(card),
    )(ModelReplica)
    return deployment.bind(open_engine, crashes)


def actor_options(card: ModelCard) -> dict[str, float]:
    """What one replica reserves of a node; shares of one GPU let models live on it side by side."""
    return {"num_cpus": card.num_cpus, "num_gpus": card.num_gpus}


def application_name(card: ModelCard) -> str:
    """What Serve calls the application of a card."""
    return f"{card.name}@{card.version}"
