"""Serves the HTTP routes for runs over drops: post one, see how far it is, stop it, read what it has come to."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from pipelines.errors import ConflictError, NotFoundError
from pipelines.formats.results import RESULT, result
from pipelines.progress import Progress
from pipelines.store.drops import Drops
from pipelines.store.posted import PostedRuns
from pipelines.store.store import Store, no_run
from pipelines.store.values import Run, StoredOutcome
from pipelines.tally import tally
from serving.body import StrictRoute
from serving.runs.answers import (
    ErrorPage,
    FailedItem,
    Redriven,
    ResultPage,
    RunFacts,
    RunList,
    RunRemarks,
    RunState,
)
from serving.runs.bodies import RedriveBody, RunBody
from serving.runs.posted_drop import PostedDrop
from serving.service import Service
from serving.service_of import ServiceOf

JSON_LINES = "application/x-ndjson"
_PER_STREAMED_PAGE = 100  # masks and transcripts may be large
_LAST_POSITION = 2**63 - 1

_PROGRESS = TypeAdapter(Progress)

_RUN_ID = Annotated[str, Path(max_length=256, description="the run's id")]
_ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"model": RunState, "description": "It waits, or is worked on."}}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such run."}}
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "The run is not in a state for this."}}

routes = APIRouter(route_class=StrictRoute, tags=["runs"])


@routes.post(
    "/runs",
    response_model=RunState,
    status_code=202,
    responses={
        202: {
            "description": "It waits, or is worked on.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "where to see how far it is"}},
        },
        200: {"model": RunState, "description": "There is this run already, and it is over."},
        409: {"description": "The id is that of another run."},
        422: {"description": "The drop may not be opened, is not there or of no known kind; or no such task."},
    },
)
async def post_run(body: RunBody, service: ServiceOf, response: Response) -> RunState:
    """Label a drop, asynchronously; results, reviews and failures are the same as of `POST /v1/prelabel`.

    The run is worked on as long as it takes, beside other calls, which go first. It survives the service: a run that is
    cut short goes on where it was.
    """
    drop, run_id = PostedDrop(drop=body.drop, task=body.task, kind=body.kind), body.run or uuid.uuid4().hex[:12]
    run = await _posted(service, run_id, drop)
    if PostedDrop.of(run) != drop:
        raise ConflictError("run_exists", f"there is another run '{run_id}' already; take another id")
    response.headers["Location"] = f"/v1/runs/{run_id}"
    response.status_code = 200 if run.is_over else 202
    return await _state(service.store, run)


async def _posted(service: Service, run_id: str, drop: PostedDrop) -> Run:
    """The run with this id, which is a new one over the drop if there was none."""
    with suppress(NotFoundError):
        return await service.store.run(run_id)
    await asyncio.to_thread(drop.check, service.settings)
    await PostedRuns(service.store).post(run_id, name=drop.name, task=drop.task, source=drop.as_source())
    return await service.store.run(run_id)


@routes.get("/runs")
async def list_runs(service: ServiceOf, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> RunList:
    """The newest runs over drops, those of the command line among them."""
    return RunList(runs=[RunFacts.model_validate(_facts(run)) for run in await Drops(service.store).runs(limit=limit)])


@routes.get("/runs/{run_id}", responses=_NOT_FOUND)
async def get_run(run_id: _RUN_ID, service: ServiceOf) -> RunState:
    """How far a run is: while it is worked on as its worker told a moment ago, else as it is stored."""
    return await _state(service.store, await _run(service.store, run_id))


@routes.delete("/runs/{run_id}", response_model=RunState, responses=_ACCEPTED | _NOT_FOUND)
async def stop_run(run_id: _RUN_ID, service: ServiceOf, response: Response) -> RunState:
    """End a run within the batches in flight; what is done is kept. A run that is over stays as it is."""
    await _run(service.store, run_id)
    await Drops(service.store).stop(run_id)
    run = await service.store.run(run_id)
    response.status_code = 200 if run.is_over else 202
    return await _state(service.store, run)


@routes.get(
    "/runs/{run_id}/results",
    response_model=ResultPage,
    responses=_NOT_FOUND | {200: {"content": {JSON_LINES: {"schema": {"$ref": "#/components/schemas/Result"}}}}},
)
async def get_results(
    run_id: _RUN_ID,
    service: ServiceOf,
    request: Request,
    after: Annotated[int, Query(ge=0, le=_LAST_POSITION, description="what `next` of the page before says")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000, description="of a page; JSON Lines hold all")] = 100,
    format: Annotated[
        Literal["json", "jsonl"] | None, Query(description="`jsonl` streams all results, as the header Accept does")
    ] = None,
) -> Response:
    """A run's results, in the form of `POST /v1/prelabel`: a page, or all of them as JSON Lines.

    ```sh
    curl -s 'http://127.0.0.1:8000/v1/runs/3f0c92d1b7aa/results?format=jsonl' > results.jsonl
    ```
    """
    run = await _run(service.store, run_id)
    if format == "jsonl" or (format is None and JSON_LINES in request.headers.get("accept", "")):
        return StreamingResponse(_lines(service.store, run.id, after), media_type=JSON_LINES)
    page = await service.store.results(run.id, after=after, limit=limit)
    is_last = not page or (len(page) < limit and run.is_over)
    return Response(await asyncio.to_thread(_page, page, is_last=is_last), media_type="application/json")


async def _lines(store: Store, run_id: str, after: int) -> AsyncIterator[bytes]:
    """All results as JSON Lines, of which one page is in memory."""
    while page := await store.results(run_id, after=after, limit=_PER_STREAMED_PAGE):
        yield await asyncio.to_thread(lambda page: b"".join(_json(one) + b"\n" for one in page), page)
        after = page[-1].position


def _page(page: Sequence[StoredOutcome], *, is_last: bool) -> bytes:
    cursor = b"null" if is_last else b'"%d"' % page[-1].position
    return b'{"results":[' + b",".join(map(_json, page)) + b'],"next":' + cursor + b"}"


def _json(stored: StoredOutcome) -> bytes:
    return RESULT.dump_json(result(stored.outcome))


@routes.get("/runs/{run_id}/errors", responses=_NOT_FOUND)
async def get_errors(
    run_id: _RUN_ID,
    service: ServiceOf,
    code: Annotated[str | None, Query(max_length=256, description="only failures with this code")] = None,
    after: Annotated[str, Query(max_length=4_096, description="what `next` of the page before says")] = "",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> ErrorPage:
    """The items of a run that have failed, and why."""
    run = await _run(service.store, run_id)
    page = await Drops(service.store).errors(run.id, code=code, after=after, limit=limit)
    errors = [
        FailedItem(
            id=one.item_id,
            uri=one.uri,
            code=one.failure.code,
            message=one.failure.message,
            attempts=one.failure.attempts,
            is_retried=one.is_retried,
        )
        for one in page
    ]
    return ErrorPage(errors=errors, next=page[-1].item_id if len(page) == limit else None)


@routes.get("/runs/{run_id}/remarks", responses=_NOT_FOUND)
async def get_remarks(run_id: _RUN_ID, service: ServiceOf) -> RunRemarks:
    """What the sanity rules have found in a run's pre-labels, and which labels mean no class of the ontology."""
    remarks = await Drops(service.store).remarks((await _run(service.store, run_id)).id)
    return RunRemarks(findings=remarks.findings, unmapped=remarks.unmapped)


@routes.post("/runs/{run_id}/redrive", status_code=202, responses=_NOT_FOUND | _CONFLICT)
async def redrive(run_id: _RUN_ID, body: RedriveBody, service: ServiceOf) -> Redriven:
    """Let a run that is over go on: with what is pending, and with the items that have failed with these codes."""
    run = await _run(service.store, run_id)
    if not run.is_posted:
        message = f"run '{run_id}' belongs to the command line; 'prelabel runs redrive' lets it go on"
        raise ConflictError("not_posted", message)
    items = await PostedRuns(service.store).redrive(run_id, codes=body.codes)
    return Redriven(items=items, run=await _state(service.store, await service.store.run(run_id)))


async def _run(store: Store, run_id: str) -> Run:
    """The run over a drop with this id."""
    run = await store.run(run_id)
    if run.task is None:  # what calls to /v1/prelabel have stored together
        raise no_run(run_id)
    return run


def _facts(run: Run) -> dict[str, Any]:
    source = run.source or {}
    named = {"drop": source.get("drop"), "kind": source.get("named_kind")}
    return asdict(run) | {
        "source": {name: said for name, said in named.items() if said},
        "is_stopping": run.is_stopping and not run.is_over,
    }


async def _state(store: Store, run: Run) -> RunState:
    task, told = run.task, None if run.progress is None else _PROGRESS.validate_python(run.progress)
    if task is None:
        raise no_run(run.id)
    progress = told if told is not None and not run.is_over else await tally(store, run.id, task)
    rate = told.items_per_s if told is not None and told.stored else None
    errors = await Drops(store).error_counts(run.id)
    return RunState.model_validate(
        _facts(run)
        | asdict(progress)
        | {
            "finished": progress.finished,
            "items_per_s": None if rate is None else round(rate, 2),
            "eta_s": None if run.is_over or progress.eta_s is None else round(progress.eta_s, 1),
            "errors": [asdict(error) for error in errors],
        }
    )
