"""Says to Ray Serve which of a request's limits hold, whatever its client says."""

from __future__ import annotations

import re

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

# The one sets the request's own timeout (0: none), the other keeps a request running when its client has gone.
_LIFTS_LIMITS = frozenset({b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})

# Answered before anybody could wait or leave: Serve need not start two tasks to watch for it.
_AT_ONCE = frozenset({"/healthz", "/livez"})
_UNWATCHED = [(b"x-request-timeout-seconds", b"0"), (b"x-request-disconnect-disabled", b"?1")]

# A million results take longer than any other answer may, and a slow reader longer still.
_STREAMED = re.compile(r"/v1/runs/[^/]+/results")
_A_DAY = [(b"x-request-timeout-seconds", b"86400")]


class KeepLimits:
    """ASGI middleware around Serve's own HTTP server, in either ingress mode."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _LIFTS_LIMITS]
            scope = {**scope, "headers": headers + _limits(scope["path"])}
        await self._app(scope, receive, send)


def _limits(path: str) -> list[tuple[bytes, bytes]]:
    """What Serve is told of a call; nothing where its own limits hold."""
    if path in _AT_ONCE:
        return _UNWATCHED
    return _A_DAY if _STREAMED.fullmatch(path) else []


def middlewares() -> list[Middleware]:
    """What Serve's HTTP servers call at their start (RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH)."""
    return [Middleware(KeepLimits)]
