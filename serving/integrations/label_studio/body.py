"""Reads what Label Studio sends so that what one task holds does not cost the others."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from models.errors import PrelabelError
from serving.body import parse

_LARGE_BYTES = 2**18  # above it, the body is read in a thread
_SURROGATE = re.compile("[\ud800-\udfff]")


class TasksRoute(APIRoute):
    """A route whose JSON body is read by ``forgiving``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def forgiven(request: Request) -> Response:
            return await handle(_TasksRequest(request.scope, request.receive))

        return forgiven


class _TasksRequest(Request):
    async def json(self) -> Any:
        return await _read(await self.body(), max_depth=self.app.state.server.max_json_depth)


async def small_json(request: Request, *, most_bytes: int) -> tuple[Any] | None:
    """The JSON of a body that nobody has begun to read; None if it is larger, of which no more than that is read.

    Raises:
        PrelabelError: invalid_json, too_large: as for ``forgiving``.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most_bytes:
        return None
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            return None
    return (await _read(bytes(body), max_depth=request.app.state.server.max_json_depth),)


async def _read(body: bytes, *, max_depth: int) -> Any:
    if len(body) > _LARGE_BYTES:
        return await asyncio.to_thread(forgiving, body, max_depth=max_depth)
    return forgiving(body, max_depth=max_depth)


def forgiving(body: bytes, *, max_depth: int) -> Any:
    """JSON from bytes; of what strict JSON has no place for, the rest stays.

    Label Studio 1.23.2 takes a lone surrogate into a task's text and sends it to us with all the other tasks. It
    becomes U+FFFD, which counts as much, so that offsets stay true; a number that is none becomes null, and so does
    what is nested too deep.

    Raises:
        PrelabelError: invalid_json, too_large: as ``parse``, where even that does not help.
    """
    try:
        return parse(body, max_depth=max_depth)
    except PrelabelError as err:
        if err.code != "invalid_json":
            raise
        try:
            return _mended(json.loads(body), max_depth)
        except (ValueError, RecursionError):
            raise err from None


def _mended(value: Any, depth: int) -> Any:
    match value:
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case float():
            return value if math.isfinite(value) else None
        case dict() | list() if not depth:
            return None
        case dict():
            return {_mended(key, depth): _mended(one, depth - 1) for key, one in value.items()}
        case list():
            return [_mended(one, depth - 1) for one in value]
        case _:
            return value
