"""Checks that no client can lift the service's limits by a header."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from serving.edge import middlewares


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(dict(request.headers))


def test_headers_that_lift_limits_are_dropped_and_others_are_kept() -> None:
    client = TestClient(Starlette(routes=[Route("/", echo)], middleware=middlewares()))
    sent = {"X-Request-Timeout-Seconds": "0", "x-request-disconnect-disabled": "?1", "X-API-Key": "k"}

    seen = client.get("/", headers=sent).json()

    assert seen["x-api-key"] == "k"
    assert not {name for name in seen if name.startswith("x-request-")}


@pytest.mark.parametrize(("path", "is_watched"), [("/healthz", False), ("/livez", False), ("/v1/prelabel", True)])
def test_only_the_health_routes_go_unwatched(path: str, is_watched: bool) -> None:
    client = TestClient(Starlette(routes=[Route(path, echo)], middleware=middlewares()))

    seen = client.get(path, headers={"X-Request-Timeout-Seconds": "5"}).json()

    limits = {name: value for name, value in seen.items() if name.startswith("x-request-")}
    assert limits == ({} if is_watched else {"x-request-timeout-seconds": "0", "x-request-disconnect-disabled": "?1"})


@pytest.mark.parametrize(
    ("path", "limits"),
    [
        ("/v1/runs/nightly/results", {"x-request-timeout-seconds": "86400"}),
        ("/v1/runs/nightly", {}),
        ("/v1/runs/nightly/results/more", {}),
        ("/v1/runs", {}),
    ],
)
def test_the_results_of_a_run_may_take_a_day(path: str, limits: dict[str, str]) -> None:
    client = TestClient(Starlette(routes=[Route(path, echo)], middleware=middlewares()))

    seen = client.get(path, headers={"X-Request-Timeout-Seconds": "5"}).json()

    assert {name: value for name, value in seen.items() if name.startswith("x-request-")} == limits
