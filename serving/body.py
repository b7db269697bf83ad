"""Reads request bodies: capped in bytes and depth, strict JSON, every refusal a clear 4xx."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import OverloadedError, PrelabelError
from serving.backlog import Backlog
from serving.errors import answer

_LARGE_BYTES = 2**18  # above it, the body is checked in a thread
_PIECE_BYTES = 2**18
_MOST_VALUES = 2_000_000

Json = dict[str, "Json"] | list["Json"] | str | float | int | bool | None


class Body(BaseModel):
    """What a body holds; what it should not hold is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BodyLimit:
    """ASGI middleware that refuses a body before more than ``max_bytes`` of it are in memory.

    All bodies in work take at most ``max_bytes_at_once`` together; a body that would exceed that gets 429.
    FastAPI's own limit answers in plain text, and before anybody can answer otherwise.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_bytes_at_once: int) -> None:
        self._app = app
        self._max_bytes, self._max_bytes_at_once = max_bytes, max_bytes_at_once
        self._bytes = Backlog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received, is_taken = 0, True

        async def counted() -> Message:
            nonlocal received, is_taken
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            self._bytes.begin(size)
            if received > self._max_bytes:
                raise self._error()
            if self._bytes.waiting > self._max_bytes_at_once:
                is_taken = False
                message = "the calls in work fill the memory meant for them; try again later"
                raise OverloadedError(message=message, room_in_s=self._bytes.seconds())
            return message

        app = self._app
        if scope["type"] == "http":
            declared = Headers(scope=scope).get("content-length", "0")
            if declared.isdigit() and int(declared) > self._max_bytes:
                app = answer(413, self._error().code, self._error().message)
        try:
            await app(scope, counted, send)
        finally:
            self._bytes.end(received, done=received if is_taken else 0)

    def _error(self) -> PrelabelError:
        message = f"the body is larger than {self._max_bytes} bytes; send fewer items, or large media by uri"
        return PrelabelError("too_large", message)


class StrictRoute(APIRoute):
    """A route whose JSON body is read by ``parse``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    async def json(self) -> Json:
        body, max_depth = await self.body(), self.app.state.server.max_json_depth
        return (
            await asyncio.to_thread(parse, body, max_depth=max_depth)
            if len(body) > _LARGE_BYTES
            else parse(body, max_depth=max_depth)
        )


def parse(body: bytes, *, max_depth: int) -> Json:
    """JSON from bytes.

    Raises:
        PrelabelError: invalid_json, for anything that is not strict JSON in UTF-8 (NaN, 1e400, lone surrogates,
            trailing bytes), or nested deeper than ``max_depth``; too_large, for more than two million values, which
            would take seconds to read.
    """
    if len(body) > _MOST_VALUES and (values := _values(body)) > _MOST_VALUES:
        raise PrelabelError("too_large", f"the body holds about {values} values or commas; send fewer items")
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as err:
        raise PrelabelError("invalid_json", f"the body is not strict JSON in UTF-8: {err}") from err
    _check(content, max_depth)
    return content


def _values(body: bytes) -> int:
    """How many values the JSON holds, or more; piece by piece, as others wait for the interpreter meanwhile."""
    pieces = (
        np.frombuffer(body[start : start + _PIECE_BYTES], np.uint8) for start in range(0, len(body), _PIECE_BYTES)
    )
    return sum(int(np.count_nonzero(piece == sign)) for piece in pieces for sign in b"[{,")


def _check(content: Json, max_depth: int) -> None:
    level: list[Json] = [content]
    for _ in range(max_depth):
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            raise PrelabelError(
                "invalid_json", "the body holds a number that is too large for a double; send a finite one"
            )
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise PrelabelError("invalid_json", f"the body is nested deeper than {max_depth} levels; send it flatter")


def _children(value: Json) -> list[Json]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return []
