"""Dials only addresses that it has resolved and checked itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore

from models.errors import ItemError
from pipelines.fetch.address import is_public
from pipelines.fetch.url import blocked

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """All addresses that the operating system knows for the host, in its order."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to a name by resolving it once, checking every address, and dialling one of those checked.

    The HTTP layer above keeps the name for Host, SNI and the certificate, and has no other way to a socket; so a name
    that points elsewhere a moment later, or to several places at once, gains nothing.
    """

    def __init__(
        self, resolve: Resolver, network: httpcore.AsyncNetworkBackend, *, is_open: Callable[[str, int], bool]
    ) -> None:
        """
        Args:
            resolve: finds a host's addresses.
            network: dials them.
            is_open: whether a host and port may have an address that is not public.
        """
        self._is_open = is_open
        self._resolve = resolve
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in await self._addresses(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as err:
                failure = err
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except socket.gaierror as err:
            if err.errno == socket.EAI_AGAIN:
                raise httpcore.ConnectError(f"the name server did not answer for '{host}'") from err
            raise _unresolved(host) from err
        except (OSError, ValueError) as err:
            raise _unresolved(host) from err
        if not addresses:
            raise _unresolved(host)
        if not self._is_open(host, port) and not all(map(is_public, addresses)):
            raise blocked(
                f"the host '{host}', which resolves to an address that is not public",
                "a public one; add it to fetch.allowed_hosts to open it",
            )
        return addresses


def _unresolved(host: str) -> ItemError:
    return ItemError("not_found", f"the host '{host}' does not resolve; check its spelling")
