"""States what gives the servers that somebody has connected their tokens, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from urllib.parse import unquote_to_bytes

import httpx

from models.errors import ItemError, PrelabelError
from pipelines.fetch.url import origin_of, read_url

_NAME, _VALUE = re.compile(r"[A-Za-z0-9-]+"), re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ODD_PATH = re.compile(rb"//|[\\\x00-\x1f]|%[0-9A-Fa-f]{2}|(?:^|/)\.{1,2}(?:[/;]|$)")


class Credentials(Protocol):
    """The servers that the administrator has connected, and the headers with which each is asked."""

    async def headers(self, origin: str) -> Mapping[str, str] | None:
        """What is sent to this origin and to no other; None where it is not one of ours.

        Called for each item on the web, so it should come from memory. An origin that has headers, be they none, is
        opened whatever the policy says of its host, port and address.

        Args:
            origin: ``scheme://host:port`` as ``origin`` writes it.

        Raises:
            PrelabelError: a token cannot be had now. An ItemError keeps its code, so that "unreachable" is tried again;
                every other one becomes "fetch_failed". Its message is shown and must not hold the token.
        """
        ...


@runtime_checkable
class Renews(Protocol):
    """Credentials whose tokens expire."""

    async def renewed(self, origin: str, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        """Headers in place of those that the server answered with 401; None where there are no others.

        Several items meet the same refusal at once; whoever finds other headers than the refused ones here already
        should return them and leave the server alone. Raises what ``headers`` does.
        """
        ...


@runtime_checkable
class Confines(Protocol):
    """Credentials for a part of a server only.

    Whoever may name an item's URI may read with the token what it opens: from a server's API, for one, texts about its
    users. A path that is not covered is asked for as from a stranger.
    """

    def covers(self, origin: str, path: str) -> bool:
        """Whether the token is for this path, which is given without its query and with percent-encoding undone. A
        path that a server may read in two ways (dot segments, double slashes, doubly encoded) is not asked about."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """The headers with which one origin is asked."""

    origin: str
    headers: Mapping[str, str]

    @property
    def encoded(self) -> list[tuple[bytes, bytes]]:
        """For the wire.

        Raises:
            ItemError: fetch_failed, for what no header may hold. The message does not show it, as h11's would.
        """
        if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in self.headers.items()):
            message = f"the credentials for {self.origin} hold what no HTTP header may; connect the server again"
            raise ItemError("fetch_failed", message)
        return [(name.encode(), value.encode()) for name, value in self.headers.items()]


def origin(url: str) -> str:
    """The origin of a server's URL: ``http://LS.example/x`` is of ``http://ls.example:80``.

    Raises:
        ItemError: blocked_url, for what is no plain http(s) URL.
    """
    return origin_of(read_url(url))


async def introduce(credentials: Credentials | None, url: httpx.URL) -> Introduction | None:
    """With what an item's own URL is asked for; None for a stranger's.

    Raises:
        ItemError: the headers cannot be had.
    """
    if credentials is None or not covers(credentials, url):
        return None
    own = origin_of(url)
    try:
        headers = await credentials.headers(own)
    except PrelabelError as err:
        raise _not_had(own, err) from err
    return None if headers is None else Introduction(origin=own, headers=headers)


async def renew(credentials: Credentials | None, refused: Introduction) -> Introduction | None:
    """Another introduction than the refused one; None where there is none.

    Raises:
        ItemError: the headers cannot be had.
    """
    if not isinstance(credentials, Renews):
        return None
    try:
        headers = await credentials.renewed(refused.origin, refused.headers)
    except PrelabelError as err:
        raise _not_had(refused.origin, err) from err
    if headers is None or dict(headers) == dict(refused.headers):
        return None
    return Introduction(origin=refused.origin, headers=headers)


def covers(credentials: Credentials | None, url: httpx.URL) -> bool:
    """Whether the credentials, where they are confined, are for this path."""
    if not isinstance(credentials, Confines):
        return True
    path = unquote_to_bytes(url.raw_path.partition(b"?")[0])
    return not _ODD_PATH.search(path) and credentials.covers(origin_of(url), path.decode("utf-8", "replace"))


def _not_had(origin: str, error: PrelabelError) -> ItemError:
    if isinstance(error, ItemError):
        return error
    return ItemError("fetch_failed", f"the credentials for {origin} cannot be had: {error.message}")
