"""Drops request headers by which a client could lift the service's limits, before Ray Serve reads them."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

# The one sets the request's own timeout (0: none), the other keeps a request running when its client has gone.
_LIFTS_LIMITS = frozenset({b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})


class KeepLimits:
    """ASGI middleware around Serve's own HTTP server, in either ingress mode."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _LIFTS_LIMITS]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What Serve's HTTP servers call at their start (RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH)."""
    return [Middleware(KeepLimits)]
