"""Bounds how many calls a process works on at a time."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import OverloadedError
from serving.backlog import Backlog
from serving.errors import answer_to


class CallLimit:
    """ASGI middleware that answers 429 on some paths while ``most`` calls to them are in work.

    The calls in work share one processor, turn by turn. When more come than it can do, and all are taken, each is
    answered later than the one before, until none is in time; so those beyond the limit are refused at once, before
    their bodies are read.
    """

    def __init__(self, app: ASGIApp, paths: frozenset[str], most: int) -> None:
        self._app, self._paths, self._most = app, paths, most
        self._calls = Backlog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        if self._calls.waiting >= self._most:
            error = OverloadedError(
                message=f"{self._calls.waiting} calls are in work already; try again later",
                room_in_s=self._calls.seconds(),
            )
            await answer_to(error)(scope, receive, send)
            return
        self._calls.begin(1)
        try:
            await self._app(scope, receive, send)
        finally:
            self._calls.end(1, done=1)
