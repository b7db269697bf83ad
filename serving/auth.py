"""Makes API keys and checks them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import ConfigError, PrelabelError

_KEY = re.compile(r"pl_([0-9a-z]{8})_([0-9A-Za-z_-]{32,64})")
_OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/docs", "/openapi.json"})
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d+)?")
_LINE = re.compile(r"([0-9a-z]{8}):([0-9a-f]{64})")


def new_key() -> tuple[str, str]:
    """A fresh key, and the line for ``server.api_keys`` that admits it.

    The secret has 256 random bits, so a plain sha256 of it is safe to store.
    """
    identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    return f"pl_{identity}_{secret}", f"{identity}:{_sha256(secret)}"


class KeyRing:
    """The keys that a service admits; an empty ring admits everybody."""

    def __init__(self, lines: Iterable[str]) -> None:
        matches = [(line, _LINE.fullmatch(line)) for line in lines]
        for line, match in matches:
            if match is None:
                raise ConfigError(
                    f"server.api_keys holds {line[:8]!r}…, which is not 'id:sha256'; make one with 'prelabel key'"
                )
        self._digests = {match[1]: match[2] for _, match in matches if match is not None}

    def check(self, *, authorization: str | None, x_api_key: str | None) -> None:
        """Admit a request by its headers: ``Authorization: Bearer KEY``, Basic with the key as password, ``X-API-Key``.

        Raises:
            PrelabelError: unauthorized.
        """
        if self._digests and not self._admits(x_api_key or _key_of(authorization or "")):
            raise PrelabelError(
                "unauthorized", "send a valid API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            )

    def _admits(self, key: str) -> bool:
        match = _KEY.fullmatch(key)
        known = self._digests.get(match[1], "") if match else ""
        return hmac.compare_digest(_sha256(match[2]) if match else "", known) and bool(known)


class RequireKey:
    """ASGI middleware that lets nobody past without a key, before a byte of the body is read.

    X-AnyLabeling sends its key as ``Token``. Health and the API's description stay open, and paths that hold a secret
    of their own.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, secret_paths: re.Pattern[str]) -> None:
        self._app = app
        self._keys, self._secret_paths = keys, secret_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            headers = Headers(scope=scope)
            try:
                x_api_key = headers.get("x-api-key") or headers.get("token")
                self._keys.check(authorization=headers.get("authorization"), x_api_key=x_api_key)
            except PrelabelError as err:
                app = _answer(401, err.code, err.message)
        await app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in _OPEN_PATHS or self._secret_paths.fullmatch(path) is not None


class RequireLocalHost:
    """ASGI middleware for a service without keys: it answers only under names of this machine, and no stranger's page.

    A web page may make a browser send requests here under a name of its own (DNS rebinding); the name gives it away.
    It may also send a form to a name of this machine; the browser then says whose page it is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if not _is_local(headers.get("host", "")):
                app = _foreign("foreign_host", "as localhost; use its loopback address")
            elif (origin := headers.get("origin")) is not None and not _is_local(origin.partition("://")[2]):
                app = _foreign("foreign_origin", "pages of this machine; use its own /docs")
        await app(scope, receive, send)


def _foreign(code: str, said: str) -> ASGIApp:
    return _answer(403, code, f"without API keys the service answers only {said}, or set api_keys")


def _answer(status: int, code: str, message: str) -> ASGIApp:
    from serving.errors import answer  # brings FastAPI, which a command that only reads the settings does not need

    return answer(status, code, message)


@lru_cache(maxsize=64)  # clients call us by the same few names
def _is_local(host_and_port: str) -> bool:
    host = _HOST.fullmatch(host_and_port)
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host[1].strip("[]")).is_loopback
    except ValueError:
        return host[1].lower() == "localhost"


def _key_of(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic":
            try:
                return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return ""
        case _:
            return ""


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
