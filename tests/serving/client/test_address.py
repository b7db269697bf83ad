"""Checks that what no call could be made with is refused before any call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models.errors import ConfigError
from serving.client import AsyncClient, Client
from serving.integrations.cvat.interactor import ServiceInteractor
from serving.integrations.cvat.server import CvatServer

Maker = Callable[..., Any]
MAKERS = pytest.mark.parametrize("make", [Client, AsyncClient, ServiceInteractor, CvatServer])


@MAKERS
@pytest.mark.parametrize(
    "url", ["http://[::1", "http://a:port", "http://a:99999999", "http://a\n.b", "http://", "", "ftp://a"]
)
def test_what_is_no_address_is_refused(make: Maker, url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a server"):
        make(url)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Client, "api_key"),
        (AsyncClient, "api_key"),
        (ServiceInteractor, "api_key"),
        (CvatServer, "token"),
        (CvatServer, "organization"),
    ],
)
@pytest.mark.parametrize("secret", ["ü", "a\n", "a b", "\x7f"])
def test_what_fits_in_no_header_is_refused_and_not_shown(make: Maker, name: str, secret: str) -> None:
    with pytest.raises(ConfigError, match=f"the {name} ") as refused:
        make("http://127.0.0.1:9", **{name: f"{secret}{secret}"})

    assert f"{secret}{secret}" not in refused.value.message


@pytest.mark.parametrize("make", [Client, AsyncClient])
def test_an_address_of_the_service_needs_its_scheme(make: Maker) -> None:
    with pytest.raises(ConfigError, match="no scheme or no host; give one like http://"):
        make("127.0.0.1:8000")


@MAKERS
@pytest.mark.parametrize("url", ["http://[::1]:8000", "https://a.b/c/", "http://127.0.0.1:8000"])
async def test_an_address_is_taken(make: Maker, url: str) -> None:
    made = make(url)

    await made.aclose() if isinstance(made, AsyncClient) else made.__exit__(None, None, None)


def test_cvat_needs_no_scheme() -> None:
    with CvatServer("cvat.example:8080", token="t", organization="") as server:
        assert server.url == "https://cvat.example:8080"
