"""Reaches the deployed models through Ray Serve handles."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from models.card import ModelCard
from models.errors import ItemError, ModelError, OverloadedError, PrelabelError
from models.types import Content, Prediction, Priority
from pipelines.types import ModelUse
from serving.backlog import Backlog
from serving.bundles import Answer, Asked, Bundles
from serving.deployments import DEPLOYMENT, ReplicaState, application_name

_ANSWER_S = 5.0
_LARGE_BYTES = 2**20  # above it a call goes through the object store, also where gRPC would carry it


class ServeModels:
    """The flow's Models protocol over one handle per model; one hop from here to a replica."""

    def __init__(self, handles: Mapping[str, DeploymentHandle], cards: Mapping[str, ModelCard]) -> None:
        self._handles = handles
        # For 5 MB gRPC took 23 ms of processor time here and 25 in the replica, the object store 8 and 5.
        self._large_handles = {name: handle.options(_by_reference=True) for name, handle in handles.items()}
        self._bundles = {
            name: Bundles(partial(self._call, name), most_items=cards[name].limits.max_items) for name in handles
        }
        self._backlogs = {name: Backlog() for name in handles}
        self._uses: dict[str, ModelUse] = {}

    @classmethod
    async def connect(cls, cards: Mapping[str, ModelCard]) -> ServeModels:
        """Find every card's application and ask it what it runs."""
        handles = {name: serve.get_deployment_handle(DEPLOYMENT, application_name(c)) for name, c in cards.items()}
        models = cls(handles, cards)
        await models.states()
        return models

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self._handle(model)
        asked = Asked(content=content, priority=priority, deadline_s=deadline_s)
        answer = await self._bundles[model].ask(asked)
        if isinstance(answer, PrelabelError):
            raise answer
        if model not in self._uses:  # it was too busy to say what it runs when this gateway started
            await self.states()
        return answer

    def room_in_s(self, model: str) -> float | None:
        """How long what is asked of a model now will take; None where nobody knows."""
        return self._backlogs[model].seconds() if model in self._backlogs else None

    async def _call(self, model: str, asked: Sequence[Asked]) -> Sequence[Answer]:
        backlog = self._backlogs[model]
        answers: Sequence[Answer] = ()
        backlog.begin(len(asked))
        try:
            answers = await self._answers(model, asked)
        finally:
            backlog.end(len(asked), done=sum(not isinstance(answer, OverloadedError) for answer in answers))
        return answers

    async def _answers(self, model: str, asked: Sequence[Asked]) -> Sequence[Answer]:
        size = sum(len(one.content.data) for one in asked)
        handle = (self._large_handles if size > _LARGE_BYTES else self._handles)[model]
        response = handle.predict.remote(asked)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()  # a timeout of ours does not reach the replica by itself
            raise
        except BackPressureError as err:
            raise OverloadedError from err
        except (RayError, RayServeException) as err:
            message = f"a replica of model '{model}' died while it worked on this item; try again"
            raise ItemError("worker_lost", message) from err

    def use_of(self, model: str) -> ModelUse:
        self._handle(model)
        if model not in self._uses:
            raise ModelError("model_stopped", f"model '{model}' has never run here; /v1/models says why")
        return self._uses[model]

    async def states(self) -> dict[str, ReplicaState]:
        """How one replica of every model does; one that does not answer within five seconds has that for a problem."""
        states = dict(zip(self._handles, await asyncio.gather(*map(self._state, self._handles)), strict=True))
        self._uses |= {name: state.use for name, state in states.items() if state.use is not None}
        return states

    async def are_ready(self) -> bool:
        """Whether every model answers and has no problem."""
        return all(state.problem is None for state in (await self.states()).values())

    async def _state(self, model: str) -> ReplicaState:
        response = self._handle(model).state.remote()
        try:
            return await asyncio.wait_for(response, _ANSWER_S)
        except TimeoutError:
            response.cancel()
            problem = f"it has not answered for {_ANSWER_S:g} s"
        except (RayError, RayServeException) as err:
            problem = f"its replica went away: {type(err).__name__}"
        return ReplicaState(use=None, engine=None, problem=problem)

    def _handle(self, model: str) -> DeploymentHandle:
        if model not in self._handles:
            raise ModelError("unknown_model", f"unknown model '{model}'; deployed: {', '.join(sorted(self._handles))}")
        return self._handles[model]
