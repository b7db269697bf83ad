"""Answers X-AnyLabeling as its own server does; its ``server_url`` is ours with ``/x-anylabeling`` at the end.

Reference: docs/router.md and app/schemas/shape.py of CVHub520/X-AnyLabeling-Server; what its client makes of an answer
is in anylabeling/services/auto_labeling/remote_server.py of CVHub520/X-AnyLabeling.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import pybase64
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from models.errors import ItemError, PrelabelError
from models.types import Item
from pipelines import prelabel
from pipelines.formats.results import result
from pipelines.tasks import TaskCard
from serving.body import StrictRoute
from serving.integrations.x_anylabeling_answers import Json, failed, info_of, shapes
from serving.service import Service
from serving.service_of import ServiceOf

_DEADLINE_S = 25.0  # the client waits for 30

routes = APIRouter(route_class=StrictRoute, prefix="/x-anylabeling", tags=["x-anylabeling"])


class Params(BaseModel):
    conf_threshold: float = Field(default=0.0, ge=0, le=1)


class PredictBody(BaseModel):
    """An image, in base64 or as a data URI, and the task that is to be done with it."""

    model: str
    image: str
    params: Params = Params()


@routes.get("/health")
async def health(service: ServiceOf) -> Json:
    """Whether the service answers, and with how many models."""
    ready = [state for state in (await service.models.states()).values() if state.problem is None]
    return {"status": "healthy", "models_loaded": len(ready), "timestamp": datetime.now(UTC).isoformat()}


@routes.get("/v1/models")
async def models(service: ServiceOf) -> Json:
    """The tasks for images, which X-AnyLabeling takes for models."""
    return {"success": True, "data": {task: info_of(card) for task, card in _tasks(service).items()}}


@routes.get("/v1/models/{model_id}/info")
async def info(model_id: str, service: ServiceOf) -> Json:
    """One of them."""
    if (card := _tasks(service).get(model_id)) is None:
        return _unknown(model_id, service)
    return {"success": True, "data": {"model_id": model_id, **info_of(card)}}


@routes.post("/v1/predict")
async def predict(body: PredictBody, service: ServiceOf, request: Request) -> Json:
    """The objects in an image, by the same flow as `POST /v1/prelabel`; what goes wrong has status 200 and says so."""
    if (card := _tasks(service).get(body.model)) is None:
        return _unknown(body.model, service)
    try:
        asked = prelabel.Request(item=_item(body.image), task=card.task)
        with request.app.state.metrics.measured():
            outcomes = await prelabel.pre_label_all([asked], service.flow, deadline_s=_DEADLINE_S)
    except PrelabelError as err:  # such as a full queue
        return failed(err.code, err.message)
    request.app.state.metrics.count(outcomes)
    found = result(outcomes[0])
    if found.error is not None:
        return failed(found.error.code, found.error.message)
    if found.is_hidden:  # whoever asks is to label it from nothing, and keeps what they have drawn
        return {"success": True, "data": {"shapes": [], "description": "", "replace": False}}
    drawn = await asyncio.to_thread(shapes, found, threshold=body.params.conf_threshold)
    return {"success": True, "data": {"shapes": drawn, "description": ""}}


def _item(image: str) -> Item:
    try:
        data = pybase64.b64decode(image.partition(";base64,")[2] or image, validate=True)
    except ValueError as err:
        raise ItemError("invalid_item", f"the image is not base64: {err}") from err
    return Item(id=uuid.uuid4().hex, media="image", data=data)


def _tasks(service: Service) -> Mapping[str, TaskCard]:
    return {task: card for task, card in service.flow.tasks.items() if card.media == "image"}


def _unknown(model: str, service: Service) -> Json:
    known = ", ".join(sorted(_tasks(service))) or "none for images"
    return failed("unknown_model", f"Model '{model[:80]}' not loaded; there are: {known}")
