"""Hosts one model card in a Ray Serve replica: a thin shell around the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.card import ModelCard
from models.errors import PrelabelError
from models.media import MediaLimits
from models.types import Content, Prediction
from pipelines.types import ModelUse

if TYPE_CHECKING:
    from ray.serve import Application

DEPLOYMENT = "Model"


class ModelReplica:
    """One copy of a model: loaded when the constructor returns."""

    def __init__(self, card: ModelCard, lock_file: Path, media: MediaLimits) -> None:
        from pipelines.local import load_engine

        self._engine, self._use = load_engine(card, lock_file, media)

    async def predict(self, content: Content) -> Prediction | PrelabelError:
        """Label one item. A failure comes back as a value: an exception would cross the wire wrapped in Ray's own."""
        try:
            return await self._engine.predict(content)
        except PrelabelError as err:
            return err

    async def use(self) -> ModelUse:
        """Which bytes and which configuration this replica runs."""
        return self._use

    async def check_health(self) -> None:
        self._engine.check_health()


def model_application(card: ModelCard, *, lock_file: Path, media: MediaLimits) -> Application:
    """The Serve application of one model version; every option comes from its card."""
    from ray import serve

    deployment = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=card.replicas,
        # The engine has its own bound and answers with an error value; Serve's stand just behind it.
        max_ongoing_requests=card.limits.max_queue + 16,
        max_queued_requests=card.limits.max_queue,
        max_constructor_retry_count=1,  # weights that cannot be loaded now cannot be loaded a second later
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=5,
        health_check_timeout_s=10,
        ray_actor_options={"num_cpus": card.num_cpus, "num_gpus": card.num_gpus},
    )(ModelReplica)
    return deployment.bind(card, lock_file, media)


def application_name(card: ModelCard) -> str:
    """What Serve calls the application of a card."""
    return f"{card.name}@{card.version}"
