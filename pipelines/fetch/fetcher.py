"""Fetches an item's bytes from wherever the item says they are."""

from __future__ import annotations

import asyncio
import re
import ssl
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx

from models.errors import ItemError
from models.types import Content, Item
from pipelines.fetch import buckets, files, inline, tar
from pipelines.fetch.credentials import Credentials
from pipelines.fetch.network import Resolver, resolve_by_system
from pipelines.fetch.policy import FetchPolicy
from pipelines.fetch.url import blocked
from pipelines.fetch.web import Web

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_MOST_AT_ONCE = 64


class Fetcher:
    """Opens URIs under a policy. Belongs to the event loop that first uses it; close it there."""

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        resolve: Resolver = resolve_by_system,
        network: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
        credentials: Credentials | None = None,
        open_filesystem: buckets.OpenFilesystem = buckets.open_filesystem,
    ) -> None:
        """
        Args:
            policy: what may be opened.
            resolve: finds a host's addresses.
            network: dials addresses that have been checked.
            tls: which certificates are trusted; by default those of the web's usual authorities.
            credentials: with what the servers that were connected are asked; they are opened beside the policy's.
            open_filesystem: gives the fsspec filesystem of a bucket's scheme.
        """
        self._policy = policy
        dialled: Any = network or httpcore.AnyIOBackend()  # which is typed as optional
        tls = tls or httpx.create_ssl_context(trust_env=False)
        self._web = Web(policy, resolve, dialled, tls=tls, credentials=credentials)
        self._open_filesystem = open_filesystem
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)

    async def fetch(self, item: Item) -> Content:
        """The item's bytes, not yet decoded.

        Raises:
            ItemError: blocked_url, not_found, empty (not for a text given as such), changed, too_large, timeout,
                fetch_failed, unreachable, wrong_media, or invalid_text.
        """
        data = await self._bytes_of(item)
        if len(data) > self._policy.max_bytes:
            raise inline.too_large(self._policy)
        return Content(media=item.media, data=data, prompts=item.prompts)

    async def aclose(self) -> None:
        await self._web.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _bytes_of(self, item: Item) -> bytes:
        match (item.uri, item.text, item.data):
            case (str(uri), None, None):
                data = await self._open(uri, item)
                if not data:
                    raise ItemError("empty", "there is nothing in it: got 0 bytes; give it again when it is complete")
                return data
            case (None, str(text), None):
                return _encode(text, item)
            case (None, None, bytes(data)):
                return data
            case _:
                raise ItemError("fetch_failed", "the item needs exactly one of uri, text and data; give it one")

    async def _open(self, uri: str, item: Item) -> bytes:
        """The bytes behind a URI. The time runs from the moment when it is this item's turn."""
        async with self._slots:
            try:
                async with asyncio.timeout(self._policy.total_timeout_s):
                    return await self._read(uri, item)
            except TimeoutError as err:
                raise ItemError(
                    "timeout", f"the item did not arrive within {self._policy.total_timeout_s:g} s; try again later"
                ) from err

    async def _read(self, uri: str, item: Item) -> bytes:
        match scheme_of(uri):
            case "http" | "https":
                return await self._web.get(uri, item.media)
            case "data":
                return await asyncio.to_thread(inline.read, uri, item.media, self._policy)
            case "file":
                return await asyncio.to_thread(files.read, uri, self._policy)
            case "tar":
                return await asyncio.to_thread(tar.read, uri, self._policy, self._open_filesystem)
            case name if name in buckets.SCHEMES:
                return await asyncio.to_thread(buckets.read, uri, self._policy, self._open_filesystem)
            case name:
                raise blocked(f"the scheme '{name[:20]}'", "http, https, data, file, tar, s3, gs, az or a path")


def scheme_of(uri: str) -> str:
    """The scheme in lower case; "file" for a path."""
    scheme = _SCHEME.match(uri)
    return scheme[1].lower() if scheme else "file"


def _encode(text: str, item: Item) -> bytes:
    if item.media != "text":
        raise ItemError("wrong_media", f"the item says {item.media} and holds a text; send its bytes or a URI")
    try:
        return text.encode()
    except UnicodeEncodeError as err:
        raise ItemError(
            "invalid_text", f"the text holds a lone surrogate at character {err.start}; send valid Unicode"
        ) from err
