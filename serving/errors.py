"""Maps every failure to one HTTP answer: a status, a stable code, a message that says what to do."""

from __future__ import annotations

import logging
import random

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from models.errors import ConfigError, ItemError, ModelError, OverloadedError, PrelabelError
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from serving.backlog import retry_after_s

logger = logging.getLogger(__name__)

_REACHABLE_IN_S = 2.0  # of a store or a model that does not answer now

# Codes whose status differs from that of their class.
_STATUS_OF_CODE = {
    "unknown_model": 404,
    "unknown_queue": 404,
    "too_large": 413,
    "unauthorized": 401,
    "bad_label_config": 400,
    "store_unavailable": 503,
}
_STATUS_OF_CLASS: tuple[tuple[type[PrelabelError], int], ...] = (
    (OverloadedError, 429),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ItemError, 422),
    (ModelError, 500),
    (ConfigError, 500),
    (InvalidRequestError, 422),
    (PrelabelError, 400),
)


def status_of(error: PrelabelError) -> int:
    """The HTTP status of an error."""
    by_class = next(status for kind, status in _STATUS_OF_CLASS if isinstance(error, kind))
    return _STATUS_OF_CODE.get(error.code, by_class)


def answer(
    status: int, code: str, message: str, *, item_id: str | None = None, room_in_s: float | None = None
) -> Response:
    """The error as every route gives it: ``{"error": {"code", "message", "item_id"?}}``; 429 and 503 say when to retry.

    Args:
        room_in_s: how long it will likely take until the same call would be taken.
    """
    error = {"code": code, "message": message} | ({"item_id": item_id} if item_id is not None else {})
    return Response(orjson.dumps({"error": error}), status, _headers(status, room_in_s), media_type="application/json")


def answer_to(error: PrelabelError) -> Response:
    """An error as every route gives it."""
    room_in_s = error.room_in_s if isinstance(error, OverloadedError) else None
    return answer(status_of(error), error.code, error.message, room_in_s=room_in_s)


def _headers(status: int, room_in_s: float | None) -> dict[str, str]:
    if status not in (429, 503):
        return {}
    seconds = _REACHABLE_IN_S if status == 503 else room_in_s
    return {"Retry-After": str(retry_after_s(seconds, draw=random.random()))}  # noqa: S311 - spreads clients


def install(api: FastAPI) -> None:
    """Make the API answer every failure in this one form."""

    @api.exception_handler(PrelabelError)
    async def expected(_: Request, err: PrelabelError) -> Response:
        return answer_to(err)

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, err: RequestValidationError) -> Response:
        return answer(422, "invalid_request", _problems(err))

    @api.exception_handler(HTTPException)
    async def http(request: Request, err: HTTPException) -> Response:
        if isinstance(err.__cause__, PrelabelError):  # FastAPI hides what goes wrong while a body is read
            return answer_to(err.__cause__)
        match err.status_code:
            case 404:
                return answer(404, "not_found", f"nothing at {request.url.path}; /docs lists the routes")
            case 405:
                return answer(
                    405, "method_not_allowed", f"{request.url.path} does not take {request.method}; see /docs"
                )
            case status:
                return answer(status, "bad_request", str(err.detail))

    @api.exception_handler(Exception)
    async def unexpected(_: Request, err: Exception) -> Response:
        logger.error("a request failed unexpectedly", exc_info=err)
        return answer(500, "internal", "the service failed on this request; its log says why")


def _problems(err: RequestValidationError) -> str:
    """What is wrong and where, echoing no more of what was sent than the names of its keys."""
    problems = err.errors()
    shown = [f"{'.'.join(str(part)[:80] for part in problem['loc'])}: {problem['msg']}" for problem in problems[:5]]
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return "; ".join(shown) + more + " (/docs shows what is wanted)"
