"""Checks that a host is resolved once, that all its addresses are checked, and that redirects lead nowhere else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

import httpcore
import pytest

from pipelines.fetch import Fetcher, FetchPolicy
from tests.pipelines.fetch.site import (
    PUBLIC,
    Internet,
    Resolution,
    Route,
    a_site,
    answer,
    fetch,
    redirect,
    refusal,
    serving,
    the_internet,
    trust,
)


async def test_a_public_name_is_resolved_once_and_its_checked_address_dialled() -> None:
    resolve = Resolution(photos_example=[[PUBLIC], ["127.0.0.1"]])

    async with the_internet({"/a": answer(b"x")}, resolve) as (network, fetcher):
        data = await fetch(fetcher, "http://photos.example/a")

        assert data == b"x"
        assert network.dialled == [(PUBLIC, 80)]
        assert resolve.asked == ["photos.example"]


async def test_a_name_that_turns_private_is_refused_at_its_next_connection() -> None:
    resolve = Resolution(photos_example=[[PUBLIC], ["127.0.0.1"]])

    async with the_internet({"/a": redirect("/b"), "/b": answer(b"x")}, resolve) as (network, fetcher):
        error = await refusal(fetcher, "http://photos.example/a")

        assert error.code == "blocked_url"
        assert network.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], [PUBLIC, "127.0.0.1"], [PUBLIC, "::ffff:10.0.0.1"], ["fe80::1%lo"], ["64:ff9b::7f00:1"]],
)
async def test_one_address_that_is_not_public_refuses_the_host(addresses: list[str]) -> None:
    async with the_internet({}, Resolution(photos_example=[addresses])) as (network, fetcher):
        error = await refusal(fetcher, "https://photos.example/a")

        assert error.code == "blocked_url"
        assert "not public" in error.message
        assert not network.dialled


class HalfDead(Internet):
    """A network where 8.8.8.8 does not answer."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if host == "8.8.8.8":
            raise httpcore.ConnectError("dead")
        return await super().connect_tcp(host, port, timeout, local_address, socket_options)


async def test_the_next_address_is_tried_when_the_first_is_dead() -> None:
    resolve = Resolution(photos_example=[["8.8.8.8", PUBLIC]])

    async with (
        serving({"/a": answer(b"x")}) as site,
        Fetcher(FetchPolicy(), resolve=resolve, network=HalfDead(site.port), tls=trust()) as fetcher,
    ):
        assert await fetch(fetcher, "http://photos.example/a") == b"x"


@pytest.mark.parametrize("answers", [{}, {"nowhere_example": [[]]}])
async def test_an_unknown_host_is_not_found(answers: dict[str, list[list[str]]]) -> None:
    async with the_internet({}, Resolution(**answers)) as (network, fetcher):
        error = await refusal(fetcher, "http://nowhere.example/a")

        assert error.code == "not_found"
        assert not network.dialled


async def test_a_silent_name_server_is_asked_again() -> None:
    asked = 0

    async def resolve(host: str, port: int) -> list[str]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [PUBLIC]

    async with (
        serving({"/a": answer(b"x")}) as site,
        Fetcher(FetchPolicy(), resolve=resolve, network=Internet(site.port), tls=trust()) as fetcher,
    ):
        assert await fetch(fetcher, "http://photos.example/a") == b"x"


async def test_the_system_resolves_and_its_answer_is_checked() -> None:
    async with serving({"/a": answer(b"x")}) as site:
        allowed = (f"localhost:{site.port}",)
        async with Fetcher(FetchPolicy(allowed_hosts=allowed), tls=trust()) as fetcher:
            assert await fetch(fetcher, site.url("/a", host="localhost")) == b"x"
            assert (await refusal(fetcher, site.url("/a", host="127.0.0.1"))).code == "blocked_url"


@pytest.mark.parametrize(
    "location",
    [
        "http://private.example:{port}/secret",
        "http://127.0.0.1:{port}/secret",
        "//127.0.0.1:{port}/secret",
        "http://[::1]:{port}/secret",
        "http://169.254.169.254/latest/meta-data",
        "http://files.example:{port}@127.0.0.1/",
        "http:\\\\127.0.0.1:{port}/secret",
        "file:///etc/passwd",
        "ftp://files.example/",
        "data:text/plain,x",
        "http://[broken",
    ],
)
async def test_a_redirect_is_checked_like_a_url_of_its_own(location: str) -> None:
    routes: dict[str, Route] = {"/secret": answer(b"s3cr3t")}
    async with a_site(routes) as (site, fetcher):
        routes["/a"] = redirect(location.format(port=site.port))

        error = await refusal(fetcher, site.url("/a"))

        assert error.code == "blocked_url"
        assert site.connections == 1


async def test_a_private_name_on_an_allowed_port_is_refused_once_resolved() -> None:
    resolve = Resolution(photos_example=[[PUBLIC]], private_example=[["10.0.0.1"]])

    async with the_internet({"/a": redirect("http://private.example/")}, resolve) as (network, fetcher):
        error = await refusal(fetcher, "http://photos.example/a")

        assert error.code == "blocked_url"
        assert resolve.asked == ["photos.example", "private.example"]
        assert network.dialled == [(PUBLIC, 80)]


async def test_a_redirect_loop_ends_after_three() -> None:
    async with a_site({"/a": redirect("/a")}) as (site, fetcher):
        error = await refusal(fetcher, site.url("/a"))

        assert error.code == "fetch_failed"
        assert "3 redirects" in error.message
        assert site.connections == 4


async def test_tls_is_asked_for_the_name_and_not_for_the_address() -> None:
    hellos: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hellos.append(await reader.read(4096))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    network = Internet(server.sockets[0].getsockname()[1])
    resolve = Resolution(photos_example=[[PUBLIC]])
    async with server, Fetcher(FetchPolicy(), resolve=resolve, network=network, tls=trust()) as fetcher:
        error = await refusal(fetcher, "https://photos.example/a")

    assert error.code == "unreachable"
    assert b"photos.example" in hellos[0]
    assert network.dialled[0] == (PUBLIC, 443)


async def test_a_host_opened_by_name_opens_on_the_usual_ports_only() -> None:
    allowed = ("minio", "store.example:9000")
    resolve = Resolution(minio=[["10.0.0.7"]], store_example=[["10.0.0.8"]])

    async with the_internet({"/a": answer(b"x")}, resolve, allowed_hosts=allowed) as (network, fetcher):
        assert await fetch(fetcher, "http://minio:8080/a") == b"x"
        assert await fetch(fetcher, "http://STORE.example:9000/a") == b"x"
        assert (await refusal(fetcher, "http://minio:9000/a")).code == "blocked_url"
        assert (await refusal(fetcher, "http://store.example/a")).code == "blocked_url"
        assert network.dialled == [("10.0.0.7", 8080), ("10.0.0.8", 9000)]


async def test_hosts_opened_by_name_can_be_all_there_are() -> None:
    resolve = Resolution(photos_example=[[PUBLIC]])

    async with the_internet({}, resolve, allowed_hosts=("minio",), only_allowed_hosts=True) as (network, fetcher):
        error = await refusal(fetcher, "http://photos.example/a")

        assert error.code == "blocked_url"
        assert not network.dialled
