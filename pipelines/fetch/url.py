"""Parses a web address once, for the check and for the fetch."""

from __future__ import annotations

import ipaddress
import re

import httpx

from models.errors import ItemError
from pipelines.fetch.address import is_disguised, is_literal, is_public
from pipelines.fetch.policy import FetchPolicy

_MAX_CHARS = 8_192
_DEFAULT_PORT = {"http": 80, "https": 443}
_MISREAD = re.compile(r"[\x00-\x20\x7f\\]")  # what one parser drops or turns, and another does not
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain")


def read_url(text: str, *, base: httpx.URL | None = None) -> httpx.URL:
    """Parse a web address, or a redirect's target seen from ``base``, that every parser reads alike.

    Raises:
        ItemError: blocked_url.
    """
    if len(text) > _MAX_CHARS:
        raise blocked(f"a URL of {len(text)} characters", f"at most {_MAX_CHARS}")
    if _MISREAD.search(text):
        raise blocked("a URL with blanks, control characters or backslashes", "them percent-encoded")
    try:
        url = base.join(text) if base else httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as err:
        raise blocked("a URL that cannot be parsed", "http(s)://host/path") from err
    if url.scheme not in _DEFAULT_PORT:
        raise blocked(f"the scheme '{url.scheme[:20]}'", "http or https")
    if url.userinfo:
        raise blocked("a URL with a user name or password in it", "one without")
    if not _HOST.fullmatch(_host_of(url)):
        raise blocked("a URL without a plain host name", "http(s)://host/path")
    return url


def check_host(url: httpx.URL, policy: FetchPolicy) -> None:
    """See whether a stranger's host and port may be opened, as far as it can be told without DNS.

    Raises:
        ItemError: blocked_url.
    """
    host, port = _host_of(url), port_of(url)
    if policy.names(host, port):
        return
    if policy.only_allowed_hosts:
        raise blocked(f"the host '{host}'", "one of fetch.allowed_hosts; add it there to open it")
    if port not in policy.allowed_ports:
        raise blocked(
            f"port {port}", f"one of {policy.allowed_ports}; add 'host:port' to fetch.allowed_hosts to open it"
        )
    if not _may_be_public(host):
        raise blocked(f"the host '{host}'", "a public one; add it to fetch.allowed_hosts to open it")


def origin_of(url: httpx.URL) -> str:
    """``scheme://host:port``, always with the port. Names are compared as they are written, but for their case: one
    that ends in a dot is another one. An IPv6 address is in brackets and in its shortest form."""
    host = _host_of(url)
    host = f"[{ipaddress.IPv6Address(host).compressed}]" if ":" in host else host
    return f"{url.scheme}://{host}:{port_of(url)}"


def port_of(url: httpx.URL) -> int:
    return url.port or _DEFAULT_PORT[url.scheme]


def shown(url: httpx.URL) -> str:
    """The URL for a message: no user, no query, no fragment, for these carry secrets."""
    host_and_path = url.raw_host + url.raw_path.partition(b"?")[0]
    return f"{url.scheme}://{host_and_path.decode('ascii', 'replace')}"[:200]


def blocked(got: str, wanted: str) -> ItemError:
    return ItemError("blocked_url", f"this URI is not opened: got {got}, wanted {wanted}")


def _host_of(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _may_be_public(host: str) -> bool:
    if is_literal(host):
        return is_public(host)
    return not is_disguised(host) and host.lower().rstrip(".").rpartition(".")[2] not in _LOCAL_NAMES
