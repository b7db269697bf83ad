"""Serves the ML-backend protocol of Label Studio (1.23), for one task and one project each.

Below ``/label-studio/{task}`` answers anybody's project; below ``/label-studio/{task}/{key}`` the one that the key
belongs to, which is connected ("prelabel label-studio connect"). The task "auto" is chosen by the labeling config.
Label Studio takes N slots for N tasks or nothing, and shows no error to anybody: so there are always N.
"""

from __future__ import annotations

import asyncio
import logging
import re
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict
from starlette.background import BackgroundTask

from models.errors import ModelError
from pipelines.errors import NotFoundError, StoreUnavailableError
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.label_studio.events import Events
from serving.integrations.label_studio import predict as answers
from serving.integrations.label_studio.body import TasksRoute
from serving.integrations.label_studio.call import FAILED, Given, PredictBody, SetupBody, bound, deployed
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.hints import hint_of
from serving.integrations.label_studio.labels import given_labels
from serving.integrations.label_studio.predict import Answer, Call, Connected, call_of
from serving.integrations.label_studio.version import model_version
from serving.service import Service
from serving.service_of import ServiceOf

logger = logging.getLogger(__name__)

# Webhooks come without credentials; the key in their path admits them.
SECRET_PATHS = re.compile(r"/label-studio/[^/]+/[^/]+/webhook")

# While a store hangs. Label Studio lets whoever saves an annotation wait for its webhooks, 1 s at most.
_HINT_S = 0.5
_KEY_S = 1.0  # to look a key up; Label Studio waits 3 s for /setup
_KEY_OF_CALL_S = 10.0
_UP = {"status": "UP", "model_class": "prelabel"}

_Task = Annotated[str, Path(max_length=64, description="a task, or auto")]
_Key = Annotated[str, Path(max_length=128, description="the key of a connected project")]

routes = APIRouter(route_class=TasksRoute, tags=["label studio"])


class AnyBody(BaseModel):
    """A body of which nothing is read, or what the route looks for itself."""

    model_config = ConfigDict(extra="allow", frozen=True)


@routes.get("/{task}")
@routes.get("/{task}/health")
@routes.get("/{task}/{key}/health")
async def health() -> dict[str, str]:
    """That this process answers, whatever the models do."""
    return _UP


@routes.post("/{task}/setup")
async def setup(task: _Task, body: SetupBody, service: ServiceOf) -> dict[str, str]:
    """The version of what labels the project; an error says what of its labeling config cannot be served."""
    return {"model_version": _version(service, task, body.label_config)}


@routes.post("/{task}/{key}/setup")
async def setup_connected(task: _Task, key: _Key, body: SetupBody, service: ServiceOf) -> dict[str, str]:
    """The same for a connected project; while the store does not answer, for whatever key."""
    await _admitted(service, key, within_s=_KEY_S)
    return await setup(task, body, service)


@routes.post("/{task}/predict")
async def predict(task: _Task, body: PredictBody, service: ServiceOf) -> Response:
    """Predictions for tasks; what is not ready by the deadline is asked for again by Label Studio."""
    try:
        call = _call(service, task, body, server_url=None)
    except ModelError as err:
        return await _none_now(body, err.message)
    if body.context is not None:
        answer = await answers.interactive(call, body.context, service.flow)
    else:
        answer = await answers.unconnected(call, service.flow)
    return await _response(answer, version=call.version)


@routes.post("/{task}/{key}/predict")
async def predict_connected(task: _Task, key: _Key, body: PredictBody, service: ServiceOf) -> Response:
    """Predictions for tasks of a connected project; what is not ready by the deadline is sent when it is."""
    within_s = min(_KEY_OF_CALL_S, service.settings.label_studio.answer_s)
    connection = await _admitted(service, key, within_s=within_s)
    if connection is None:
        return await _none_now(body, "the store does not answer")
    try:
        flow = service.flow_for(connection)
        call = _call(service, task, body, server_url=connection.url)
    except (ModelError, LabelStudioError) as err:
        return await _none_now(body, err.message)
    if body.context is not None:
        return await _response(await answers.interactive(call, body.context, flow), version=call.version)
    connected = Connected(service, connection, flow)
    answer = await connected.answer(call)
    return await _response(answer, version=call.version, then=BackgroundTask(connected.sent, call, answer))


@routes.post("/{task}/{key}/webhook", status_code=201)
async def webhook(key: _Key, body: AnyBody, service: ServiceOf) -> dict[str, str]:
    """Notes a hint that something was done in the project; what it was is read from Label Studio later."""
    hint = hint_of(body.model_extra or {})
    try:
        async with asyncio.timeout(_HINT_S):
            connection = await _admitted(service, key, within_s=_HINT_S)
            if connection is None or hint is None:
                return {"status": "ignored" if connection else "later"}
            await Events(service.store, connection.id).add(hint.action, hint.ids)
    except (TimeoutError, StoreUnavailableError):
        logger.warning("a webhook was not noted in time; the next look finds what it was about")
        return {"status": "later"}
    return {"status": "ok"}


@routes.post("/{task}/webhook", status_code=201)
async def webhook_of_anybody() -> dict[str, str]:
    """Takes a webhook of a project that is not connected; nothing can be looked up for it."""
    return {"status": "ignored"}


@routes.get("/{task}/versions")
@routes.get("/{task}/{key}/versions")
async def versions(task: _Task, service: ServiceOf) -> dict[str, list[str]]:
    """The versions that predictions may have now, one for each task that the path stands for."""
    tasks = deployed(service.settings, task)
    return {"versions": [model_version(service.settings, service.models, service.flow, one) for one in tasks]}


@routes.post("/{task}/train", status_code=201)
@routes.post("/{task}/{key}/train", status_code=201)
async def train() -> dict[str, str]:
    """Trains nothing: answers flow into calibration and policy by "prelabel policy fit"."""
    return {"status": "ignored"}


@routes.post("/{task}/validate")
@routes.post("/{task}/{key}/validate")
async def validate(task: _Task, body: AnyBody, service: ServiceOf) -> dict[str, str]:
    """Whether a labeling config can be served; an error says what is missing."""
    config = (body.model_extra or {}).get("config")
    bound(service.settings, task, config if isinstance(config, str) else "", given=_given(service))
    return {"status": "ok"}


@routes.post("/{task}/job_status")
@routes.post("/{task}/{key}/job_status")
async def job_status() -> dict[str, str]:
    """No job is ever begun, so whichever is asked for is over."""
    return {"job_status": "finished"}


@routes.post("/{task}/duplicate_model")
@routes.post("/{task}/{key}/duplicate_model")
@routes.post("/{task}/delete")
@routes.post("/{task}/{key}/delete")
async def nothing_to_do() -> dict[str, str]:
    """Models belong to the service, not to a project."""
    return {"status": "ok"}


def _given(service: Service) -> Given:
    return partial(given_labels, service.settings, service.models)


def _version(service: Service, task: str, label_config: str) -> str:
    found = bound(service.settings, task, label_config, given=_given(service))
    return model_version(service.settings, service.models, service.flow, found.task)


def _call(service: Service, task: str, body: PredictBody, *, server_url: str | None) -> Call:
    is_interactive = body.context is not None
    found = bound(service.settings, task, body.label_config or "", given=_given(service), is_interactive=is_interactive)
    answer_s = service.settings.label_studio.answer_s
    return call_of(service, found, body.tasks, server_url=server_url, answer_s=answer_s)


async def _admitted(service: Service, key: str, *, within_s: float) -> Connection | None:
    """The connection whose key this is; None while the store does not say.

    Raises:
        NotFoundError: there is none (not_connected).
    """
    try:
        async with asyncio.timeout(within_s):
            connection = await Connections(service.store).admitted(key)
    except (TimeoutError, StoreUnavailableError):
        logger.warning("the key of a connected project cannot be looked up now: the store does not answer")
        return None
    if connection is None:
        message = "no project is connected under this key; 'prelabel label-studio connect' makes a new address"
        raise NotFoundError("not_connected", message)
    return connection


async def _none_now(body: PredictBody, reason: str) -> Response:
    """A slot for each task, and nothing in it: with a status Label Studio would do no more, and say nothing either."""
    logger.warning("%s tasks of Label Studio are not labelled now: %s", len(body.tasks), reason)
    return await _response(Answer(slots=[FAILED] * len(body.tasks)), version=None)


async def _response(answer: Answer, *, version: str | None, then: BackgroundTask | None = None) -> Response:
    content: dict[str, Any] = {"results": answer.slots} | ({"model_version": version} if version else {})
    written = await asyncio.to_thread(orjson.dumps, content) if len(answer.slots) > 1 else orjson.dumps(content)
    return Response(written, media_type="application/json", background=then)
