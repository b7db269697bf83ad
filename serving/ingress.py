"""Serves the HTTP routes: parse, call the flow, serialise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

import pybase64
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from models.card import ModelCard
from models.errors import ItemError, OverloadedError
from models.types import MEDIA_OF_TASK, Annotation, Item, Priority, Prompts, Task
from pipelines import prelabel
from pipelines.formats.results import RESULT, Result, result
from pipelines.review import ReviewTask
from pipelines.store.values import QueueOverview
from pipelines.types import Failed, Failure, Outcome
from serving import errors
from serving.auth import KeyRing, RequireKey, RequireLocalHost
from serving.body import Body, BodyLimit, StrictRoute
from serving.call_limit import CallLimit
from serving.corrections import routes as correction_routes
from serving.deployed_model import DeployedModel
from serving.deployments import ReplicaState
from serving.integrations.cvat.routes import routes as cvat_routes
from serving.integrations.label_studio.routes import SECRET_PATHS
from serving.integrations.label_studio.routes import routes as label_studio_routes
from serving.integrations.x_anylabeling import routes as x_anylabeling_routes
from serving.metrics import Counts, Metrics, exposition
from serving.policies.routes import routes as policy_routes
from serving.runs.routes import routes as run_routes
from serving.samples.routes import routes as sample_routes
from serving.service import Service
from serving.service_of import ServiceOf
from serving.settings import ServerSettings
from serving.upload import Parts, UploadRoute, check_parts, form_schema, part_of, parts_of

_LIMITED = frozenset({"/v1/prelabel"})  # other calls are cheap, or a person's work would be lost
_MANY_ITEMS = 50  # a thousand answers take 35 ms to write, in which the loop would answer nobody

T = TypeVar("T")
OpenService = Callable[[], AbstractAsyncContextManager[Service]]
GatherCounts = Callable[[], Awaitable[Iterable[Counts]]]


class ItemBody(Body):
    """One item: what to do (task) and exactly one of uri, text, data (base64), part (of a multipart call)."""

    id: str = Field(min_length=1, max_length=256)
    task: Task
    uri: str | None = Field(default=None, max_length=65_536)
    text: str | None = None
    data: str | None = Field(default=None, description="the file's bytes in base64")
    part: str | None = Field(default=None, description="the name of the form's part that is the file")
    meta: dict[str, str] = Field(default_factory=dict)
    prompts: Prompts = Prompts()


class PreLabelBody(Body):
    """Items to label.

    ``labels`` keeps only these; ``deadline_s`` is how long the caller waits. Items of a bulk call let those of
    interactive ones go first. Calls that name the same ``run`` store an item of that run once, so that a call can be
    repeated; without it every call is a run of its own.
    """

    items: list[ItemBody] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    deadline_s: float | None = Field(default=None, gt=0)
    priority: Priority = "interactive"
    run: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {"id": "t1", "task": "ner", "text": "Ada Varga moved to Lisbon on 3 May 2021."},
                        {"id": "i1", "task": "detection", "uri": "https://example.com/shelf.jpg"},
                    ]
                }
            ]
        }
    )


class PreLabelAnswer(BaseModel):
    """One result for each item, in order."""

    results: list[Result]


class ClaimBody(Body):
    """Who claims, how many tasks, and for how long."""

    reviewer: str = Field(min_length=1, max_length=256)
    n: int = Field(default=1, ge=1, le=100)
    lease_s: float = Field(default=600.0, gt=0, le=86_400)


class LeaseBody(Body):
    """The lease that a claim gave: who holds it, and its attempt number."""

    reviewer: str = Field(min_length=1, max_length=256)
    attempt: int = Field(ge=1)


class HeartbeatBody(LeaseBody):
    lease_s: float = Field(default=600.0, gt=0, le=86_400)


class SubmitBody(LeaseBody):
    """A human's answer: the annotations as they should be."""

    annotations: tuple[Annotation, ...]
    seconds: float | None = Field(default=None, ge=0)
    idempotency_key: str | None = Field(default=None, max_length=256)


_health = APIRouter(tags=["health"])
_metrics = APIRouter(tags=["health"])
_v1 = APIRouter(route_class=StrictRoute)
_uploads = APIRouter(route_class=UploadRoute)


async def livez(_: Request) -> Response:
    """Whether this process answers; calls nothing."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@_health.get("/readyz", response_model=None)
async def readyz(service: ServiceOf) -> Response | dict[str, str]:
    """Whether every model and the store answer."""
    if not await service.models.are_ready():
        return errors.answer(503, "not_ready", "a model does not answer yet; try again later")
    if not await service.store.is_reachable():
        return errors.answer(503, "not_ready", "the store does not answer; check that PostgreSQL runs")
    return {"status": "ready"}


@_metrics.get("/metrics")
async def metrics(request: Request) -> Response:
    """Counters and latencies for Prometheus, of all gateways together."""
    return exposition(await request.app.state.gather_counts())


@_uploads.post(
    "/prelabel", tags=["pre-labels"], response_model=PreLabelAnswer, openapi_extra=form_schema(PreLabelBody.__name__)
)
async def pre_label(body: PreLabelBody, service: ServiceOf, request: Request) -> Response:
    """Label items of any tasks in one call; each item gets labels, nothing_found, or failed with a reason.

    Large files travel best as parts of a form, which costs no base64; an item names its file by `part`:

    ```sh
    curl http://127.0.0.1:8000/v1/prelabel -F shelf=@shelf.jpg \\
         -F 'request={"items": [{"id": "i1", "task": "detection", "part": "shelf"}]};type=application/json'
    ```
    """
    server, parts = service.settings.server, parts_of(request)
    if len(body.items) > server.max_items:
        message = f"{len(body.items)} items in one call; at most {server.max_items}"
        return errors.answer(413, "too_large", message)
    check_parts(parts, list(_named_parts(body)), most_bytes=server.max_body_bytes)
    deadline_s = min(body.deadline_s or server.default_deadline_s, server.max_deadline_s)
    try:
        with request.app.state.metrics.measured():
            outcomes = await _outcomes(body, parts, service, deadline_s)
    except OverloadedError as err:
        err.room_in_s = service.room_in_s(item.task for item in body.items)
        raise
    request.app.state.metrics.count(outcomes)
    answer = await _briefly(lambda: _answer(outcomes), len(outcomes))
    return Response(answer, media_type="application/json")


async def _briefly(work: Callable[[], T], items: int) -> T:
    """What the work gives; for many items it is done in a thread, so that others are answered meanwhile."""
    return await asyncio.to_thread(work) if items > _MANY_ITEMS else work()


def _answer(outcomes: list[Outcome]) -> bytes:
    """The answer as JSON, item by item."""
    return b'{"results":[' + b",".join(RESULT.dump_json(result(outcome)) for outcome in outcomes) + b"]}"


def _named_parts(body: PreLabelBody) -> Iterator[str]:
    return (item.part for item in body.items if item.part is not None)


async def _outcomes(body: PreLabelBody, parts: Parts, service: Service, deadline_s: float) -> list[Outcome]:
    run_id = await service.store.start_run("online", run_id=body.run) if body.run else None
    requests = await _briefly(lambda: [_request(item, parts, body.labels) for item in body.items], len(body.items))
    return await prelabel.pre_label_all(
        requests, service.flow, run_id=run_id, priority=body.priority, deadline_s=deadline_s
    )


def _request(body: ItemBody, parts: Parts, labels: tuple[str, ...]) -> prelabel.Request | Failed:
    """One item as the flow takes it; what is wrong with it costs this item alone."""
    prompts = replace(body.prompts, labels=body.prompts.labels + labels)
    item = Item(
        id=body.id, media=MEDIA_OF_TASK[body.task], uri=body.uri, text=body.text, meta=body.meta, prompts=prompts
    )
    try:
        return prelabel.Request(item=_with_data(item, _data(body, parts)), task=body.task)
    except ItemError as err:
        return Failed(item=item, task=body.task, failure=Failure(code=err.code, message=err.message))


def _data(body: ItemBody, parts: Parts) -> bytes | None:
    """The bytes that came with an item; None where it has a uri or a text."""
    given = [name for name in ("uri", "text", "data", "part") if getattr(body, name) is not None]
    if len(given) != 1:
        message = f"got {' and '.join(given) or 'none'} of uri, text, data, part; give exactly one"
        raise ItemError("invalid_item", message)
    if body.part is not None:
        return part_of(parts, body.part)
    return None if body.data is None else _from_base64(body.data)


def _from_base64(data: str) -> bytes:
    try:
        return pybase64.b64decode(data, validate=True)  # 5 MB in 0.6 ms, where the standard library's takes 24
    except ValueError as err:
        message = f"data is not base64: {err}; encode the file's bytes as standard base64"
        raise ItemError("invalid_item", message) from err


def _with_data(item: Item, data: bytes | None) -> Item:
    """The item with its bytes, if it has any; a text becomes one, so that it is kept as one."""
    if data is None:
        return item
    if item.media == "text":
        with suppress(UnicodeDecodeError):  # which the flow refuses with a reason
            return replace(item, text=data.decode())
    return replace(item, data=data)


@_v1.get("/models", tags=["models"])
async def models(service: ServiceOf) -> dict[str, list[DeployedModel]]:
    """The deployed models, down to the digests of their bytes, and how they do."""
    states = await service.models.states()
    calibrated = {use for calibration in service.flow.calibrations.values() for use in calibration.chain}
    return {"models": [_deployed(card, states[card.name], calibrated) for card in service.settings.models]}


def _deployed(card: ModelCard, state: ReplicaState, calibrated: Collection[str]) -> DeployedModel:
    return DeployedModel(
        name=card.name,
        version=card.version,
        task=card.task,
        adapter=card.adapter,
        precision=card.precision,
        weights_digest=state.use.weights_digest if state.use else None,
        config_digest=card.digest(),
        labels=state.use.labels if state.use else (),
        calibrated=state.use is not None and str(state.use) in calibrated,
        ready=state.problem is None,
        problem=state.problem,
        engine=state.engine,
    )


@_v1.get("/queues", tags=["reviews"])
async def queues(service: ServiceOf) -> dict[str, list[QueueOverview]]:
    """Every queue with its counts."""
    return {"queues": await service.store.queues()}


# The reason would tell an audit from a review, and a reviewer must not know.
@_v1.post("/queues/{name}/claim", tags=["reviews"], response_model_exclude={"tasks": {"__all__": {"reason"}}})
async def claim(name: str, body: ClaimBody, service: ServiceOf) -> dict[str, list[ReviewTask]]:
    """Lease the most urgent tasks of a queue; none left gives an empty list.

    An item shows itself by its uri or text; where has_content is true, /v1/reviews/{task_id}/content gives its bytes.
    Where is_blind is true, the pre-label is empty because it must not be seen, not because nothing was found.
    """
    return {"tasks": await service.reviews.claim(name, reviewer=body.reviewer, n=body.n, lease_s=body.lease_s)}


@_v1.get("/reviews/{task_id}/content", tags=["reviews"], response_class=Response)
async def content(task_id: int, service: ServiceOf) -> Response:
    """The bytes of an item that was sent as data; 404 for an item with a uri or a text."""
    kept = await service.reviews.content(task_id)
    # A browser must neither guess what a stranger's bytes are nor run them as a page of ours.
    headers = {
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(kept.data, headers=headers, media_type="application/octet-stream")


@_v1.post("/reviews/{task_id}/heartbeat", tags=["reviews"])
async def heartbeat(task_id: int, body: HeartbeatBody, service: ServiceOf) -> dict[str, str]:
    """Keep a lease; 409 when it has run out."""
    await service.reviews.heartbeat(task_id, attempt=body.attempt, reviewer=body.reviewer, lease_s=body.lease_s)
    return {"status": "leased"}


@_v1.post("/reviews/{task_id}/release", tags=["reviews"])
async def release(task_id: int, body: LeaseBody, service: ServiceOf) -> dict[str, str]:
    """Give a task back unanswered."""
    await service.reviews.release(task_id, attempt=body.attempt, reviewer=body.reviewer)
    return {"status": "pending"}


@_v1.post("/reviews/{task_id}/submit", tags=["reviews"])
async def submit(task_id: int, body: SubmitBody, service: ServiceOf) -> dict[str, str]:
    """Answer a task; the annotations are kept beside the untouched pre-label. 409 when the lease has run out."""
    await service.reviews.submit(
        task_id,
        attempt=body.attempt,
        reviewer=body.reviewer,
        annotations=body.annotations,
        seconds=body.seconds,
        idempotency_key=body.idempotency_key,
    )
    return {"status": "done"}


def make_api(open_service: OpenService, server: ServerSettings, gather_counts: GatherCounts | None = None) -> FastAPI:
    """The HTTP API around a service, which is opened when the API starts and closed when it ends.

    Args:
        open_service: opens the service.
        server: what a request may be, and who may send one.
        gather_counts: what all processes with this API have counted; None where this is the only one.
    """

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with open_service() as service:
            api.state.service = service
            yield

    api = FastAPI(title="prelabel", summary="First labels for raw data.", version="1", lifespan=lifespan)
    api.state.server = server
    api.state.metrics = Metrics()
    api.state.gather_counts = gather_counts or api.state.metrics.gather
    api.add_middleware(CallLimit, paths=_LIMITED, most=server.max_calls)
    api.add_middleware(BodyLimit, max_bytes=server.max_body_bytes, max_bytes_at_once=server.max_bodies_bytes)
    if server.api_keys:
        api.add_middleware(RequireKey, keys=KeyRing(server.api_keys), secret_paths=SECRET_PATHS)
    else:
        api.add_middleware(RequireLocalHost)
    errors.install(api)
    # Not FastAPI's own kind of route, which takes three times as long (120 us), for what is asked most and must be
    # answered when all else waits.
    api.add_route("/livez", livez)
    api.add_route("/healthz", livez)  # which HAProxy answers itself, where it stands before the gateways
    api.include_router(_health)
    api.include_router(_uploads, prefix="/v1")
    api.include_router(_v1, prefix="/v1")
    api.include_router(run_routes, prefix="/v1")
    api.include_router(policy_routes, prefix="/v1")
    api.include_router(correction_routes, prefix="/v1")
    api.include_router(sample_routes, prefix="/v1")
    api.include_router(label_studio_routes, prefix="/label-studio")
    api.include_router(cvat_routes, prefix="/cvat/{task}")
    api.include_router(x_anylabeling_routes)
    api.include_router(_metrics)
    return api
