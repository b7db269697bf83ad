"""Checks what is fetched from the web, what is no file, and the bounds of size and time, against real servers."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import time
import zlib

import pytest

from models.types import Media
from pipelines import retries
from pipelines.fetch import Fetcher, FetchPolicy
from tests.pipelines.fetch.site import SECRET, a_site, answer, endless, fetch, in_turn, redirect, refusal, trust


async def test_a_file_comes_as_the_server_holds_it() -> None:
    async with a_site({"/a.png": answer(b"\x89PNG")}) as (site, fetcher):
        data = await fetch(fetcher, site.url(f"/a.png?{SECRET}#part"))

        head = f"GET /a.png?{SECRET} HTTP/1.1\r\nHost: files.example:{site.port}\r\n"
        assert data == b"\x89PNG"
        assert site.requests[0].startswith(head.encode())


async def test_no_cookie_of_one_item_is_sent_for_another() -> None:
    async with a_site({"/a": answer(b"x", headers=["Set-Cookie: id=1"])}) as (site, fetcher):
        await fetch(fetcher, site.url("/a"))
        await fetch(fetcher, site.url("/a"))

        assert b"cookie" not in site.requests[1].lower()


async def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async with a_site({"/a": answer(b"x")}) as (site, fetcher):
        assert await fetch(fetcher, site.url("/a")) == b"x"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int) -> None:
    async with a_site({"/a": redirect("/b?c", status), "/b": answer(b"x")}) as (site, fetcher):
        assert await fetch(fetcher, site.url("/a")) == b"x"


async def test_a_body_without_a_length_is_read_to_its_end() -> None:
    async with a_site({"/a": answer(b"abc", length=-1)}) as (site, fetcher):
        assert await fetch(fetcher, site.url("/a")) == b"abc"


@pytest.mark.parametrize("length", [0, -1])
async def test_an_answer_without_a_body_is_empty(length: int) -> None:
    async with a_site({"/a": answer(b"", length=length)}) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "empty"


async def test_gzip_that_nobody_asked_for_is_unpacked() -> None:
    packed = answer(gzip.compress(b"abc"), headers=["Content-Encoding: gzip"])

    async with a_site({"/a": packed}) as (site, fetcher):
        assert await fetch(fetcher, site.url("/a")) == b"abc"


async def test_a_failure_in_passing_is_tried_again() -> None:
    async with a_site({"/a": in_turn(answer(status=503), answer(b"", length=9), answer(b"x"))}) as (site, fetcher):
        data = await fetch(fetcher, site.url("/a"))

        assert data == b"x"
        assert site.connections == 3


async def test_a_lasting_failure_is_tried_three_times_and_by_a_drop_again_later() -> None:
    async with a_site({"/a": answer(status=502)}) as (site, fetcher):
        error = await refusal(fetcher, site.url("/a"))

        assert error.code == "unreachable"
        assert "502" in error.message
        assert site.connections == 3
        assert retries.wait_s(error.code, attempts=1) is not None


async def test_a_dead_server_is_a_failed_fetch() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    async with Fetcher(FetchPolicy(allowed_hosts=(f"127.0.0.1:{port}",)), tls=trust()) as fetcher:
        error = await refusal(fetcher, f"http://127.0.0.1:{port}/a?{SECRET}")

    assert error.code == "unreachable"
    assert "cannot connect" in error.message


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (410, "not_found"), (401, "fetch_failed"), (403, "fetch_failed"), (204, "fetch_failed"),
     (206, "fetch_failed"), (304, "fetch_failed"), (418, "fetch_failed"), (429, "unreachable"), (500, "unreachable")],
)  # fmt: skip
async def test_a_status_other_than_200_fails_without_its_body(status: int, code: str) -> None:
    body = b"" if status in (204, 304) else b"s3cr3t"

    async with a_site({"/a": answer(body, status=status)}) as (site, fetcher):
        error = await refusal(fetcher, site.url(f"/a?{SECRET}"))

        assert error.code == code
        assert str(status) in error.message
        assert "files.example" in error.message
        assert site.connections == 1


@pytest.mark.parametrize("media", ["image", "audio"])
async def test_a_login_page_with_status_200_is_called_one(media: Media) -> None:
    page = answer(b"<html>s3cr3t", headers=["Content-Type: text/html; charset=utf-8"])

    async with a_site({"/a": page}) as (site, fetcher):
        error = await refusal(fetcher, site.url("/a"), media)

    assert error.code == "fetch_failed"
    assert "login page" in error.message


async def test_a_web_page_is_a_text() -> None:
    page = answer(b"<p>Alice", headers=["Content-Type: text/html"])

    async with a_site({"/a": page}) as (site, fetcher):
        assert await fetch(fetcher, site.url("/a"), "text") == b"<p>Alice"


async def test_a_server_that_talks_no_http_leaks_nothing() -> None:
    async def route(writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR s3cr3t unknown command\r\n\r\n")

    async with a_site({"/a": route}) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "unreachable"


async def test_an_answer_cut_short_is_not_taken_for_the_whole() -> None:
    async with a_site({"/a": answer(b"abc", length=10)}) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "unreachable"


async def test_a_retry_writes_no_secret_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="stamina")

    async with a_site({"/a": answer(b"s3cr3t", status=503)}) as (site, fetcher):
        await refusal(fetcher, site.url(f"/a?{SECRET}"))

    written = [record.__dict__ for record in caplog.records if record.name.startswith("stamina")]
    assert written
    assert "s3cr3t" not in repr(written)


async def test_a_stated_length_over_the_cap_is_refused_before_the_body() -> None:
    async with a_site({"/a": answer(length=10**18)}, max_bytes=1000) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "too_large"


async def test_a_body_at_the_cap_is_taken() -> None:
    async with a_site({"/a": answer(bytes(1000))}, max_bytes=1000) as (site, fetcher):
        assert len(await fetch(fetcher, site.url("/a"))) == 1000


async def test_an_endless_body_is_cut_at_the_cap() -> None:
    async with a_site({"/a": endless(bytes(500))}, max_bytes=10_000) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "too_large"


async def test_a_gzip_bomb_is_cut_at_the_cap() -> None:
    bomb = answer(gzip.compress(bytes(10_000_000)), headers=["Content-Encoding: gzip"])

    async with a_site({"/a": bomb}, max_bytes=100_000) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "too_large"


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"abc")[:-6], b"no gzip", gzip.compress(b"a") + gzip.compress(b"b")],
    ids=["cut off", "no gzip", "two members"],
)
async def test_damaged_gzip_is_refused(body: bytes) -> None:
    async with a_site({"/a": answer(body, headers=["Content-Encoding: gzip"])}) as (site, fetcher):
        error = await refusal(fetcher, site.url("/a"))

    assert error.code == "fetch_failed"
    assert "gzip" in error.message


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip"])
async def test_other_encodings_are_refused(encoding: str) -> None:
    packed = answer(zlib.compress(b"abc"), headers=[f"Content-Encoding: {encoding}"])

    async with a_site({"/a": packed}) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "fetch_failed"


async def test_a_slow_drip_ends_at_the_total_timeout() -> None:
    async with a_site({"/a": endless(b".", pause_s=0.02)}, total_timeout_s=0.3) as (site, fetcher):
        started = time.monotonic()

        error = await refusal(fetcher, site.url("/a"))

        assert error.code == "timeout"
        assert time.monotonic() - started < 2.0


async def test_retries_end_at_the_total_timeout() -> None:
    async with a_site({"/a": answer(status=503)}, total_timeout_s=0.05) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "timeout"


async def test_a_server_that_never_answers_ends_at_the_total_timeout() -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with a_site({"/a": silence}, total_timeout_s=0.2) as (site, fetcher):
        assert (await refusal(fetcher, site.url("/a"))).code == "timeout"
