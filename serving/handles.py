"""Reaches the deployed models through Ray Serve handles."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from models.card import ModelCard
from models.errors import ItemError, ModelError, OverloadedError, PrelabelError
from models.types import Content, Prediction
from pipelines.types import ModelUse
from serving.deployments import DEPLOYMENT, application_name

_READY_S = 5.0


class ServeModels:
    """The flow's Models protocol over one handle per model; one hop from here to a replica."""

    def __init__(self, handles: Mapping[str, DeploymentHandle], uses: Mapping[str, ModelUse]) -> None:
        self._handles = handles
        self._uses = uses

    @classmethod
    async def connect(cls, cards: Mapping[str, ModelCard]) -> ServeModels:
        """Find every card's application and ask it what it runs."""
        handles = {name: serve.get_deployment_handle(DEPLOYMENT, application_name(c)) for name, c in cards.items()}
        uses = await asyncio.gather(*(handle.use.remote() for handle in handles.values()))
        return cls(handles, dict(zip(handles, uses, strict=True)))

    async def predict(self, model: str, content: Content) -> Prediction:
        response = self._handle(model).predict.remote(content)
        try:
            answer: Prediction | PrelabelError = await response
        except asyncio.CancelledError:
            response.cancel()  # a timeout of ours does not reach the replica by itself
            raise
        except BackPressureError as err:
            raise OverloadedError from err
        except (RayError, RayServeException) as err:
            raise ItemError("model_failed", f"model '{model}' went away while it worked on this item") from err
        if isinstance(answer, PrelabelError):
            raise answer
        return answer

    def use_of(self, model: str) -> ModelUse:
        self._handle(model)
        return self._uses[model]

    async def are_ready(self) -> bool:
        """Whether every model answers within five seconds."""
        try:
            async with asyncio.timeout(_READY_S):
                await asyncio.gather(*(handle.use.remote() for handle in self._handles.values()))
        except (RayError, RayServeException, TimeoutError):
            return False
        return True

    def _handle(self, model: str) -> DeploymentHandle:
        if model not in self._handles:
            raise ModelError("unknown_model", f"unknown model '{model}'; deployed: {', '.join(sorted(self._handles))}")
        return self._handles[model]
