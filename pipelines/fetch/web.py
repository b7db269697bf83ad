"""Downloads from the web, within bounds of address, size and time."""

from __future__ import annotations

import ssl
import zlib

import httpcore
import httpx
import stamina

from models.errors import ItemError
from models.types import Media
from pipelines.fetch.credentials import Credentials, Introduction, covers, introduce, renew
from pipelines.fetch.network import GuardedNetwork, Resolver
from pipelines.fetch.policy import FetchPolicy
from pipelines.fetch.url import check_host, origin_of, port_of, read_url, shown

_HEADERS = [(b"User-Agent", b"prelabel"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"identity")]
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({502, 503, 504})
_ATTEMPTS = 3
# httpcore's pool walks over all waiting requests and idle connections whenever one comes or goes. 500 requests at once
# (100 kB each, loopback, one CPU core) ran at 59 per second; with the waiting done outside and few idle, at 390.
_MAX_IDLE_CONNECTIONS = 8


class _TransientError(ItemError):
    """A failure that may pass when tried again."""


class _UnwelcomeError(ItemError):
    """The server that the credentials are for has refused them."""


class Web:
    """Connection pools without cookies, proxies or anything from the environment.

    A server that has been connected is asked with its token, wherever it stands. The token is for the item's own URL
    and for redirects within its origin. A redirect to any other origin is a stranger's from then on, even if it leads
    back: under the policy, and without the token. So is a redirect from a stranger to a connected server.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        resolve: Resolver,
        network: httpcore.AsyncNetworkBackend,
        *,
        tls: ssl.SSLContext,
        credentials: Credentials | None = None,
    ) -> None:
        self._policy, self._credentials = policy, credentials
        self._strangers = _pool(GuardedNetwork(resolve, network, is_open=policy.names), tls)
        # A pool of their own: an idle connection to a private address would open it to strangers.
        self._connected = _pool(GuardedNetwork(resolve, network, is_open=lambda *_: True), tls)

    async def get(self, uri: str, media: Media) -> bytes:
        """Download, following redirects, and trying again what failed in passing.

        Raises:
            ItemError: blocked_url, not_found, too_large, timeout, fetch_failed. Messages hold neither the query nor
                anything of the response but its status.
        """
        url = read_url(uri)
        retries = stamina.retry_context(
            on=_TransientError, attempts=_ATTEMPTS, timeout=None, wait_initial=0.1, wait_jitter=0.1, wait_max=2.0
        )
        async for attempt in retries:
            with attempt:
                return await self._get_once(url, media)
        raise AssertionError("stamina ends with a result or an exception")

    async def aclose(self) -> None:
        await self._strangers.aclose()
        await self._connected.aclose()

    async def _get_once(self, url: httpx.URL, media: Media) -> bytes:
        try:
            return await self._welcomed(url, media)
        except httpcore.ConnectError as err:
            if isinstance(err.__cause__, ssl.SSLError):
                raise ItemError("fetch_failed", f"cannot trust {shown(url)}: {err}; check its certificate") from err
            raise _TransientError("unreachable", f"cannot connect to {shown(url)}: {err}; is it up?") from err
        except httpcore.ConnectTimeout as err:
            raise _TransientError("timeout", f"cannot connect to {shown(url)} in time; is it up?") from err
        except httpcore.TimeoutException as err:
            raise ItemError("timeout", f"{shown(url)} stopped answering; try again later") from err
        except (httpcore.NetworkError, httpcore.RemoteProtocolError) as err:
            raise _TransientError("unreachable", f"the connection to {shown(url)} broke; try again later") from err
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as err:
            raise ItemError("fetch_failed", f"{shown(url)} cannot be asked for over HTTP; check it") from err

    async def _welcomed(self, url: httpx.URL, media: Media) -> bytes:
        """Ask with the credentials, if there are any for it, and once more with new ones when they have expired."""
        introduction = await introduce(self._credentials, url)
        try:
            return await self._follow(url, media, introduction)
        except _UnwelcomeError:
            renewed = await renew(self._credentials, introduction) if introduction else None
            if renewed is None:
                raise
        return await self._follow(url, media, renewed)

    async def _follow(self, url: httpx.URL, media: Media, introduction: Introduction | None) -> bytes:
        rest_s = self._policy.total_timeout_s
        timeouts = {"connect": self._policy.connect_timeout_s, "read": rest_s, "write": rest_s, "pool": rest_s}
        for _ in range(self._policy.max_redirects + 1):
            if introduction is None:
                check_host(url, self._policy)
            pool = self._connected if introduction else self._strangers
            headers = [*_HEADERS, *(introduction.encoded if introduction else ())]
            target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path)
            async with pool.stream("GET", target, headers=headers, extensions={"timeout": timeouts}) as response:
                answered = httpx.Headers(response.headers)
                if response.status not in _REDIRECTS:
                    _check_status(url, response.status, introduction)
                    _check_type(url, answered.get("content-type", ""), media)
                    return await self._read(url, response, answered)
            url = read_url(answered.get("location", ""), base=url)
            if introduction and not (origin_of(url) == introduction.origin and covers(self._credentials, url)):
                introduction = None
        raise ItemError(
            "fetch_failed", f"{shown(url)} comes after {self._policy.max_redirects} redirects; use the last"
        )

    async def _read(self, url: httpx.URL, response: httpcore.Response, headers: httpx.Headers) -> bytes:
        max_bytes = self._policy.max_bytes
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated[:20]) > max_bytes:
            raise _too_large(url, max_bytes)
        unpack = _unpacker(url, headers.get("content-encoding", ""))
        body, received = bytearray(), 0
        async for chunk in response.aiter_stream():
            received += len(chunk)
            body += _unpack(unpack, chunk, max_bytes + 1 - len(body), url) if unpack else chunk
            if max(received, len(body)) > max_bytes:
                raise _too_large(url, max_bytes)
        if unpack and (not unpack.eof or unpack.unused_data):
            raise _damaged(url)
        return bytes(body)


def _pool(network: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        ssl_context=tls,
        network_backend=network,
        max_connections=None,
        max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
        keepalive_expiry=5.0,
    )


def _check_status(url: httpx.URL, status: int, introduction: Introduction | None) -> None:
    match status:
        case 200:
            return
        case 401 if introduction:
            hint = f"it refuses the token for {introduction.origin}; has it expired? Connect the server again"
            raise _UnwelcomeError("fetch_failed", f"{shown(url)} answered 401, wanted 200; {hint}")
        case 403 if introduction:
            hint = f"the user whose token it is for {introduction.origin} may not see it; give them the right to"
            raise ItemError("fetch_failed", f"{shown(url)} answered 403, wanted 200; {hint}")
        case 404 | 410:
            raise ItemError("not_found", f"{shown(url)} answered {status}; check that it is still there")
        case 401 | 403:
            hint = "has the signed URL expired, or does the host ask for a login?"
            raise ItemError("fetch_failed", f"{shown(url)} answered {status}, wanted 200; {hint}")
        case _ if status in _TRANSIENT:
            raise _TransientError("unreachable", f"{shown(url)} answered {status}, wanted 200; try again later")
        case _ if status == 429 or status >= 500:
            raise ItemError("unreachable", f"{shown(url)} answered {status}, wanted 200; try again later")
        case _:
            raise ItemError("fetch_failed", f"{shown(url)} answered {status}, wanted 200; use the file's own URL")


def _check_type(url: httpx.URL, content_type: str, media: Media) -> None:
    if media != "text" and content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        raise ItemError(
            "fetch_failed",
            f"{shown(url)} is a web page, wanted {media}; "
            "often it is a login page: use a signed URL, or one that needs no login",
        )


def _unpacker(url: httpx.URL, encoding: str) -> zlib._Decompress | None:
    """What unpacks the body; some stores send gzip although we ask for none."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        case _:
            raise ItemError(
                "fetch_failed", f"{shown(url)} is sent in a Content-Encoding other than gzip; send it plain"
            )


def _unpack(unpack: zlib._Decompress, chunk: bytes, max_bytes: int, url: httpx.URL) -> bytes:
    try:
        return unpack.decompress(chunk, max_bytes)
    except zlib.error as err:
        raise _damaged(url) from err


def _too_large(url: httpx.URL, max_bytes: int) -> ItemError:
    return ItemError("too_large", f"{shown(url)} has more than {max_bytes} bytes (fetch.max_bytes); split it")


def _damaged(url: httpx.URL) -> ItemError:
    return ItemError("fetch_failed", f"{shown(url)} was sent as damaged gzip; send it plain")
