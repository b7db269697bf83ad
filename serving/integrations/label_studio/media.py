"""Fetches the media of connected projects from their Label Studio, each with its own token."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import httpx

from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.fetch.credentials import origin
from pipelines.store.label_studio.connections import Connection
from serving.integrations.label_studio.api import LabelStudio

_FILES = "/data/"  # uploads and local files; what else its API tells is nobody's label


class ConnectionMedia:
    """A fetcher for each connection. None of them opens what another's token opens."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._tls: ssl.SSLContext | None = None
        self._fetchers = dict[tuple[str, str], tuple[Fetcher, LabelStudio]]()

    def of(self, connection: Connection) -> Fetcher:
        """What fetches the connection's items: from its Label Studio with its token, from others as anybody may."""
        key = (connection.id, connection.token)
        if key not in self._fetchers:
            self._tls = self._tls or httpx.create_ssl_context(trust_env=False)
            server = LabelStudio(connection.url, token=connection.token)
            credentials = ServerCredentials(connection.url, server)
            self._fetchers[key] = Fetcher(self._policy, credentials=credentials, tls=self._tls), server
        return self._fetchers[key][0]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as closing:
            for fetcher, server in self._fetchers.values():
                closing.push_async_callback(server.aclose)
                closing.push_async_callback(fetcher.aclose)
        self._fetchers.clear()


class ServerCredentials:
    """What admits us to the files of one Label Studio (the protocols of pipelines/fetch/credentials.py)."""

    def __init__(self, url: str, server: LabelStudio) -> None:
        self._origin, self._server = origin(url), server
        self._files = httpx.URL(url).path.rstrip("/") + _FILES

    async def headers(self, origin: str) -> Mapping[str, str] | None:
        return await self._server.authorization() if origin == self._origin else None

    async def renewed(self, origin: str, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        return await self._server.authorization(refused=refused) if origin == self._origin else None

    def covers(self, origin: str, path: str) -> bool:
        return origin == self._origin and path.startswith(self._files)
