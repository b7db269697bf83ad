"""Checks, by what real servers receive, that a token goes to exactly its origin and opens nothing to strangers."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ItemError, PrelabelError
from pipelines import retries
from pipelines.fetch import Fetcher, FetchPolicy, origin
from pipelines.fetch.url import read_url
from tests.pipelines.fetch.site import (
    PUBLIC,
    Internet,
    Resolution,
    Route,
    Site,
    answer,
    fetch,
    in_turn,
    redirect,
    refusal,
    serving,
    trust,
)

TOKEN = "Token s3cr3t-0123456789abcdef"
LOOPBACK = [["127.0.0.1"]]
HOSTS = Resolution(ls_example=LOOPBACK, ls_example_=LOOPBACK, files_example=LOOPBACK, private_example=LOOPBACK)


@dataclass(slots=True)
class Tokens:
    """The headers of each origin; ``fresh`` are those that a refused origin gets in their place."""

    known: Mapping[str, Mapping[str, str]]
    fresh: list[Mapping[str, str] | None] = field(default_factory=list)
    refused: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    async def headers(self, origin: str) -> Mapping[str, str] | None:
        return self.known.get(origin)


@dataclass(slots=True)
class Expiring(Tokens):
    async def renewed(self, origin: str, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        self.refused.append((origin, refused))
        return self.fresh.pop(0)


@dataclass(slots=True)
class MediaOnly(Tokens):
    def covers(self, origin: str, path: str) -> bool:
        return path.startswith("/data/")


@dataclass(frozen=True, slots=True)
class Failing:
    error: PrelabelError

    async def headers(self, origin: str) -> Mapping[str, str] | None:
        raise self.error


def a_token(site: Site, token: str = TOKEN, host: str = "ls.example") -> dict[str, dict[str, str]]:
    return {f"http://{host}:{site.port}": {"Authorization": token}}


def tokens_got(site: Site) -> list[str | None]:
    """The Authorization of each request that a server received, None where there was none."""
    heads = [head.decode("latin-1").split("\r\n")[1:] for head in site.requests]
    fields = [dict(line.lower().split(": ", 1) for line in head if line) for head in heads]
    return [head.get("authorization") for head in fields]


@asynccontextmanager
async def a_fetcher(
    credentials: Any, *opened: Site, ports: Sequence[int] = (80, 8080), **options: Any
) -> AsyncIterator[Fetcher]:
    """A fetcher to which these sites are open as files.example; loopback, where all sites are, is private."""
    allowed = tuple(f"files.example:{site.port}" for site in opened)
    policy = FetchPolicy(allowed_hosts=allowed, allowed_ports=tuple(ports), total_timeout_s=5.0)
    options = {"resolve": HOSTS, "tls": trust()} | options
    async with Fetcher(policy, credentials=credentials, **options) as fetcher:
        yield fetcher


async def test_a_token_goes_to_its_own_origin_and_opens_its_private_address_and_port() -> None:
    async with serving({"/a": answer(b"x")}) as ls, a_fetcher(Tokens(a_token(ls))) as fetcher:
        assert await fetch(fetcher, ls.url("/a?k=1", host="ls.example")) == b"x"
        assert tokens_got(ls) == [TOKEN.lower()]

    async with serving({"/a": answer(b"x")}) as ls, a_fetcher(Tokens({})) as fetcher:
        assert (await refusal(fetcher, ls.url("/a", host="ls.example"))).code == "blocked_url"
        assert not ls.connections


async def test_an_origin_without_headers_is_open_all_the_same() -> None:
    async with serving({"/a": answer(b"x")}) as ls, a_fetcher(Tokens({f"http://ls.example:{ls.port}": {}})) as fetcher:
        assert await fetch(fetcher, ls.url("/a", host="ls.example")) == b"x"
        assert tokens_got(ls) == [None]


async def test_a_connected_server_is_open_where_only_named_hosts_are() -> None:
    async with serving({"/a": answer(b"x")}) as ls:
        policy = FetchPolicy(only_allowed_hosts=True)
        async with Fetcher(policy, credentials=Tokens(a_token(ls)), resolve=HOSTS, tls=trust()) as fetcher:
            assert await fetch(fetcher, ls.url("/a", host="ls.example")) == b"x"


@pytest.mark.parametrize(
    "uri",
    ["http://ls.example/a", "HTTP://LS.Example/a", "http://ls.example:80/a", "http://ls.example:080/a",
     "http://ls.example:/a", "http://ls。example/a", "http://@ls.example/a", "http://[2606:4700:0::1]/a",
     "http://[2606:4700::0001]:80/a"],
)  # fmt: skip
async def test_another_spelling_of_the_same_origin_is_given_the_token(uri: str) -> None:
    own = {name: {"Authorization": TOKEN} for name in ("http://ls.example:80", "http://[2606:4700::1]:80")}
    resolve = Everywhere()

    async with (
        serving({"/a": answer(b"x")}) as ls,
        a_fetcher(Tokens(own), resolve=resolve, network=Internet(ls.port)) as fetcher,
    ):
        assert await fetch(fetcher, uri) == b"x"
        assert tokens_got(ls) == [TOKEN.lower()]


class Everywhere(Resolution):
    """A name server to which every name is a public address's."""

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return [PUBLIC]


@pytest.mark.parametrize(
    "uri",
    ["http://ls.example:8080/a", "http://ls.example./a", "http://xls.example/a", "http://a.ls.example/a",
     "http://ls.example.evil.example/a", "http://ls-example/a", "http://ls.exampl/a", "http://ls.example-evil.com/a",
     "http://evil.example/a?http://ls.example:80/", "http://evil.example/a#@ls.example", "http://xn--ls-xka.example/a",
     "http://lѕ.example/a", "http://evil.example?@ls.example/a", "http://[2606:4700::11]/a"],
)  # fmt: skip
async def test_a_look_alike_of_the_origin_is_asked_without_the_token(uri: str) -> None:
    own = {name: {"Authorization": TOKEN} for name in ("http://ls.example:80", "http://[2606:4700::1]:80")}

    async with (
        serving({"/a": answer(b"x"), "/": answer(b"x")}) as stranger,
        a_fetcher(Tokens(own), resolve=Everywhere(), network=Internet(stranger.port)) as fetcher,
    ):
        assert await fetch(fetcher, uri) == b"x"
        assert tokens_got(stranger) == [None]


@pytest.mark.parametrize(
    "uri",
    ["http://ls.example@evil.example/a", "http://ls.example:80@evil.example/a", "http://u:p@ls.example/a",
     "http://%6cs.example/a", "http://ls%2eexample/a", "http://ls.example%00.evil.example/a", "http://ⓛs.example/a",
     "http://ls.example\\@evil.example/a", "http://evil.example\\@ls.example/a", "http://ls.example\t/a",
     "ftp://ls.example/a", "http://ls.example:80:80/a", "http://[::ffff:127.0.0.1%25lo]/a"],
)  # fmt: skip
async def test_a_doubtful_spelling_of_the_origin_is_not_opened(uri: str) -> None:
    own = {name: {"Authorization": TOKEN} for name in ("http://ls.example:80", "http://u:p@ls.example:80")}

    async with (
        serving({}) as stranger,
        a_fetcher(Tokens(own), resolve=Everywhere(), network=Internet(stranger.port)) as fetcher,
    ):
        assert (await refusal(fetcher, uri)).code == "blocked_url"
        assert not stranger.connections


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::ffff:127.0.0.1]"])
async def test_another_name_of_the_connected_servers_address_stays_closed(host: str) -> None:
    async with serving({"/a": answer(b"x")}) as ls, a_fetcher(Tokens(a_token(ls)), ports=[ls.port]) as fetcher:
        assert (await refusal(fetcher, ls.url("/a", host=host))).code == "blocked_url"
        assert not ls.connections


async def test_a_redirect_within_the_origin_keeps_the_token() -> None:
    routes: dict[str, Route] = {"/a": redirect("/b"), "/c": answer(b"x")}
    async with serving(routes) as ls, a_fetcher(Tokens(a_token(ls))) as fetcher:
        routes["/b"] = redirect(f"HTTP://LS.example:{ls.port}/c")

        assert await fetch(fetcher, ls.url("/a", host="ls.example")) == b"x"
        assert tokens_got(ls) == [TOKEN.lower()] * 3


async def test_a_redirect_to_a_store_is_followed_without_the_token() -> None:
    async with (
        serving({"/k": answer(b"x")}) as store,
        serving({}) as ls,
        a_fetcher(Tokens(a_token(ls)), store) as fetcher,
    ):
        ls.routes["/a"] = redirect(store.url("/k?X-Amz-Signature=abc"), 303)

        assert await fetch(fetcher, ls.url("/a", host="ls.example")) == b"x"
        assert tokens_got(ls) == [TOKEN.lower()]
        assert tokens_got(store) == [None]
        assert b"/k?X-Amz-Signature=abc" in store.requests[0]


async def test_each_origin_gets_its_own_token_and_a_redirect_takes_none_to_the_other() -> None:
    async with serving({"/a": answer(b"1")}) as one, serving({"/b": answer(b"2")}) as two:
        own = a_token(one) | a_token(two, "Bearer s3cr3t-2")
        async with a_fetcher(Tokens(own)) as fetcher:
            await fetch(fetcher, one.url("/a", host="ls.example"))
            await fetch(fetcher, two.url("/b", host="ls.example"))
            assert (tokens_got(one), tokens_got(two)) == ([TOKEN.lower()], ["bearer s3cr3t-2"])

            one.routes["/a"] = redirect(two.url("/b", host="ls.example"))
            assert (await refusal(fetcher, one.url("/a", host="ls.example"))).code == "blocked_url"
            assert len(two.requests) == 1


@pytest.mark.parametrize("host", ["private.example", "127.0.0.1", "[::1]", "ls.example."])
async def test_a_connected_server_opens_no_other_private_address(host: str) -> None:
    async with (
        serving({"/k": answer(b"x")}) as inside,
        serving({}) as ls,
        a_fetcher(Tokens(a_token(ls)), ports=[inside.port]) as fetcher,
    ):
        ls.routes["/a"] = redirect(inside.url("/k", host=host))

        assert (await refusal(fetcher, ls.url("/a", host="ls.example"))).code == "blocked_url"
        assert len(ls.requests) == 1
        assert not inside.connections


async def test_a_stranger_cannot_redirect_into_the_connected_server() -> None:
    async with (
        serving({"/api": answer(b"x")}) as ls,
        serving({}) as stranger,
        a_fetcher(Tokens(a_token(ls)), stranger, ports=[ls.port]) as fetcher,
    ):
        stranger.routes["/a"] = redirect(ls.url("/api", host="ls.example"))

        assert (await refusal(fetcher, stranger.url("/a"))).code == "blocked_url"
        assert tokens_got(stranger) == [None]
        assert not ls.connections


async def test_an_idle_connection_to_the_connected_server_is_not_lent_to_a_stranger() -> None:
    async def stay(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        await writer.drain()
        await asyncio.Event().wait()

    async with (
        serving({"/a": stay}) as ls,
        serving({}) as stranger,
        a_fetcher(Tokens(a_token(ls)), stranger, ports=[ls.port]) as fetcher,
    ):
        await fetch(fetcher, ls.url("/a", host="ls.example"))
        stranger.routes["/a"] = redirect(ls.url("/a", host="ls.example"))

        assert (await refusal(fetcher, stranger.url("/a"))).code == "blocked_url"


async def test_a_way_out_and_back_is_a_strangers() -> None:
    async with (
        serving({"/api": answer(b"x")}) as ls,
        serving({}) as stranger,
        a_fetcher(Tokens(a_token(ls)), stranger, ports=[ls.port]) as fetcher,
    ):
        ls.routes["/a"] = redirect(stranger.url("/b"))
        stranger.routes["/b"] = redirect(ls.url("/api", host="ls.example"))

        assert (await refusal(fetcher, ls.url("/a", host="ls.example"))).code == "blocked_url"
        assert tokens_got(ls) == [TOKEN.lower()]
        assert tokens_got(stranger) == [None]


async def test_a_stranger_is_redirected_to_a_connected_server_that_is_open_anyway_without_the_token() -> None:
    async with (
        serving({"/k": answer(b"x")}) as ls,
        serving({}) as stranger,
        a_fetcher(Tokens(a_token(ls, host="files.example")), ls, stranger) as fetcher,
    ):
        stranger.routes["/a"] = redirect(ls.url("/k"))

        assert await fetch(fetcher, stranger.url("/a")) == b"x"
        assert tokens_got(ls) == [None]


async def test_a_token_for_https_is_not_sent_over_http(tmp_path: Path) -> None:
    """Asked for over http, and redirected from https to http at the same host and port number."""
    server_tls, client_tls = _tls(tmp_path, "ls.example")
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 302 X\r\nLocation: {plain.url('/b')}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with serving({"/b": answer(b"x")}) as plain:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls)
        port = server.sockets[0].getsockname()[1]
        own = {f"https://ls.example:{port}": {"Authorization": TOKEN}}
        own |= {f"https://files.example:{plain.port}": {"Authorization": TOKEN}}
        async with server, a_fetcher(Tokens(own), plain, tls=client_tls) as fetcher:
            assert await fetch(fetcher, f"https://ls.example:{port}/a") == b"x"
            assert await fetch(fetcher, plain.url("/b")) == b"x"

    assert TOKEN.encode() in heads[0]
    assert tokens_got(plain) == [None, None]


async def test_a_refused_token_fails_with_a_hint() -> None:
    async with (
        serving({"/a": answer(b"s3cr3t", status=401), "/b": answer(status=403)}) as ls,
        a_fetcher(Tokens(a_token(ls))) as fetcher,
    ):
        expired = await refusal(fetcher, ls.url("/a", host="ls.example"))
        forbidden = await refusal(fetcher, ls.url("/b", host="ls.example"))

        assert (expired.code, forbidden.code) == ("fetch_failed", "fetch_failed")
        assert "token" in expired.message
        assert f"http://ls.example:{ls.port}" in expired.message
        assert "right" in forbidden.message
        assert len(ls.requests) == 2


async def test_an_expired_token_is_renewed_once() -> None:
    async with serving({"/a": in_turn(answer(status=401), answer(b"x"))}) as ls:
        tokens = Expiring(a_token(ls, "Bearer old"), fresh=[{"Authorization": "Bearer new"}])
        async with a_fetcher(tokens) as fetcher:
            assert await fetch(fetcher, ls.url("/a", host="ls.example")) == b"x"
            assert tokens_got(ls) == ["bearer old", "bearer new"]
            assert tokens.refused == [(f"http://ls.example:{ls.port}", {"Authorization": "Bearer old"})]


@pytest.mark.parametrize(
    ("fresh", "requests"), [({"Authorization": "Bearer new"}, 2), ({"Authorization": TOKEN}, 1), (None, 1)]
)
async def test_a_token_that_stays_refused_is_not_tried_for_ever(fresh: Mapping[str, str] | None, requests: int) -> None:
    async with serving({"/a": answer(status=401)}) as ls, a_fetcher(Expiring(a_token(ls), fresh=[fresh])) as fetcher:
        error = await refusal(fetcher, ls.url("/a", host="ls.example"))

        assert (error.code, len(ls.requests)) == ("fetch_failed", requests)


async def test_a_store_that_answers_401_renews_nothing() -> None:
    async with serving({"/k": answer(status=401)}) as store, serving({}) as ls:
        tokens = Expiring(a_token(ls))
        async with a_fetcher(tokens, store) as fetcher:
            ls.routes["/a"] = redirect(store.url("/k"))

            assert "signed URL" in (await refusal(fetcher, ls.url("/a", host="ls.example"))).message
            assert not tokens.refused


@pytest.mark.parametrize(
    ("error", "code", "is_retried"),
    [
        (ItemError("unreachable", "ls does not answer"), "unreachable", True),
        (PrelabelError("label_studio_refused", "ls refused the refresh token"), "fetch_failed", False),
    ],
)
async def test_credentials_that_cannot_be_had_fail_the_item_and_ask_nobody(
    error: PrelabelError, code: str, is_retried: bool
) -> None:
    async with serving({"/a": answer(b"x")}) as ls, a_fetcher(Failing(error), ls) as fetcher:
        got = await refusal(fetcher, ls.url("/a"))

        assert got.code == code
        assert error.message in got.message
        assert (retries.wait_s(got.code, attempts=1) is not None) == is_retried
        assert not ls.connections


@pytest.mark.parametrize("value", ["s3cr3t\r\nX-Evil: 1", "s3cr3t\n", "s3cr3t\x00", "s3cr3té", "", " s3cr3t"])
async def test_a_token_that_no_header_may_hold_is_not_shown(value: str) -> None:
    async with serving({"/a": answer(b"x")}) as ls, a_fetcher(Tokens(a_token(ls, value))) as fetcher:
        error = await refusal(fetcher, ls.url("/a", host="ls.example"))

        assert error.code == "fetch_failed"
        assert _chain(error) == [error]
        assert not ls.requests


@pytest.mark.parametrize(
    "route",
    [answer(b"s3cr3t", status=401), answer(status=403), answer(status=503), answer(b"a", length=9), redirect("//[x"),
     redirect("/b"), answer(headers=["Content-Type: text/html"])],
)  # fmt: skip
async def test_no_failure_writes_the_token_into_an_error_or_a_log(
    route: Route, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async with serving({"/a": route, "/b": answer(status=500)}) as ls:
        tokens = Expiring(a_token(ls), fresh=[{"Authorization": "Bearer s3cr3t-2"}])
        async with a_fetcher(tokens) as fetcher:
            error = await refusal(fetcher, ls.url("/a", host="ls.example"))

            assert tokens_got(ls)[0] == TOKEN.lower()

    assert not any("s3cr3t" in f"{one!r} {one}" for one in _chain(error))
    assert caplog.records
    assert "s3cr3t" not in repr([record.__dict__ for record in caplog.records])


async def test_a_fetcher_tells_no_token_of_another_path_where_the_credentials_are_confined() -> None:
    async with (
        serving({"/data/a%20b.png": answer(b"x"), "/api/users": answer(b"x")}) as ls,
        a_fetcher(MediaOnly(a_token(ls))) as fetcher,
    ):
        assert await fetch(fetcher, ls.url("/data/a%20b.png?d=/api/", host="ls.example")) == b"x"
        assert tokens_got(ls) == [TOKEN.lower()]
        assert (await refusal(fetcher, ls.url("/api/users", host="ls.example"))).code == "blocked_url"

        ls.routes["/data/to"] = redirect("/api/users")
        assert (await refusal(fetcher, ls.url("/data/to", host="ls.example"))).code == "blocked_url"
        assert [head.split()[1] for head in ls.requests] == [b"/data/a%20b.png?d=/api/", b"/data/to"]


@pytest.mark.parametrize(
    "path",
    ["/data/../api/users", "/data/%2e%2e/api/users", "/data/%2E./api", "/data/..%2fapi", "/data/%252e%252e/api",
     "/data/..;/api", "/data//api", "/data/%5c..%5capi", "/data/.", "/data/a%00"],
)  # fmt: skip
async def test_a_path_that_may_lead_out_of_what_is_covered_is_a_strangers(path: str) -> None:
    async with serving({}) as ls, a_fetcher(MediaOnly(a_token(ls))) as fetcher:
        assert (await refusal(fetcher, ls.url(path, host="ls.example"))).code == "blocked_url"
        assert not ls.connections


@pytest.mark.parametrize(
    ("url", "own"),
    [("http://LS.example", "http://ls.example:80"), ("https://ls.example/x?y", "https://ls.example:443"),
     ("http://[0:0::1]:8080/", "http://[::1]:8080"), ("http://10.0.0.1:9000", "http://10.0.0.1:9000")],
)  # fmt: skip
def test_an_origin_is_written_with_its_port(url: str, own: str) -> None:
    assert origin(url) == own


@given(st.from_regex(r"https?://[A-Za-z0-9.:%@\\/\[\]-]{1,30}/?", fullmatch=True))
def test_what_has_an_origin_is_dialled_there(text: str) -> None:
    """The origin is made of the very host and port that the connection is opened to."""
    try:
        url = read_url(text)
    except ItemError:
        return

    assert origin(f"{origin(text)}/") == origin(text)
    assert read_url(origin(text)).scheme == url.scheme
    assert ":" in url.raw_host.decode() or read_url(origin(text)).raw_host == url.raw_host


def _chain(error: BaseException) -> Sequence[BaseException]:
    """An error and all that stand behind it, as a traceback would show them."""
    behind = error.__cause__ or error.__context__
    return [error, *(_chain(behind) if behind else ())]


def _tls(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context and that of a client which trusts it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return server, ssl.create_default_context(cadata=pem.decode())
