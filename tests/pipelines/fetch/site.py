"""Serves real HTTP on loopback and counts who comes, for the tests of the fetcher."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpcore
import httpx
import pytest

from models.errors import ItemError
from models.types import Item, Media
from pipelines.fetch import Fetcher, FetchPolicy

Route = Callable[[asyncio.StreamWriter], Awaitable[None]]
PUBLIC = "93.184.215.14"
SECRET = "X-Amz-Signature=s3cr3t"


@dataclass(slots=True)
class Site:
    """A running server: its port, what it answers, and the head of every request that it got."""

    port: int
    routes: dict[str, Route] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str, host: str = "files.example") -> str:
        return f"http://{host}:{self.port}{path}"


def answer(body: bytes = b"", *, status: int = 200, headers: Iterable[str] = (), length: int | None = None) -> Route:
    """A whole answer; ``length`` is what Content-Length claims, -1 for no such header."""
    stated = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} X", "Connection: close", *headers]
    lines += [f"Content-Length: {stated}"] if stated >= 0 else []

    async def route(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return route


def redirect(location: str, status: int = 302) -> Route:
    return answer(status=status, headers=[f"Location: {location}"])


def in_turn(*routes: Route) -> Route:
    """Another answer at each request, the last one from then on."""
    left = list(routes)

    async def route(writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(writer)

    return route


def endless(chunk: bytes, pause_s: float = 0.0) -> Route:
    """A body that never ends."""

    async def route(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return route


@asynccontextmanager
async def serving(routes: dict[str, Route]) -> AsyncIterator[Site]:
    site = Site(port=0, routes=routes)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            site.requests.append(head)
            await routes[head.split()[1].decode().partition("?")[0]](writer)
        writer.close()
        with suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


class Resolution:
    """A name server with the given answers; a host's answers come in turn, the last one from then on."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {host.replace("_", "."): list(lists) for host, lists in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        left = self._answers.get(host)
        if left is None:
            raise OSError(f"{host} is unknown here")
        return left.pop(0) if len(left) > 1 else left[0]


class Internet(httpcore.AsyncNetworkBackend):
    """Dials the loopback server for whatever address is asked for, and notes the address."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._inner: Any = httpcore.AnyIOBackend()
        self.dialled: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        return await self._inner.connect_tcp("127.0.0.1", self._port, timeout, local_address, socket_options)


@cache
def trust() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


@asynccontextmanager
async def a_site(routes: dict[str, Route], **policy: Any) -> AsyncIterator[tuple[Site, Fetcher]]:
    """A site that the administrator has opened as files.example, beside private.example, which is not open."""
    resolve = Resolution(files_example=[["127.0.0.1"]], private_example=[["127.0.0.1"]])
    async with serving(routes) as site:
        policy["allowed_hosts"] = (f"files.example:{site.port}",)
        async with Fetcher(FetchPolicy(**policy), resolve=resolve, tls=trust()) as fetcher:
            yield site, fetcher


@asynccontextmanager
async def the_internet(
    routes: dict[str, Route], resolve: Resolution, **policy: Any
) -> AsyncIterator[tuple[Internet, Fetcher]]:
    """A network where every address leads to one server."""
    async with serving(routes) as site:
        network = Internet(site.port)
        async with Fetcher(FetchPolicy(**policy), resolve=resolve, network=network, tls=trust()) as fetcher:
            yield network, fetcher


async def fetch(fetcher: Fetcher, uri: str, media: Media = "image") -> bytes:
    return (await fetcher.fetch(Item(id="a", media=media, uri=uri))).data


async def refusal(fetcher: Fetcher, uri: str, media: Media = "image") -> ItemError:
    """The error that fetching ends in, after a look that no secret is in it."""
    with pytest.raises(ItemError) as caught:
        await fetch(fetcher, uri, media)
    assert "s3cr3t" not in caught.value.message
    return caught.value
