"""Tests what a client makes of answers, and of none."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from models.errors import OverloadedError, PrelabelError
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError, StoreUnavailableError
from serving.client.errors import AnswerError, ServiceError, UnreachableError
from serving.client.trouble import Trouble, retry_after_s, trouble_of, trouble_of_transport

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
URL = "http://127.0.0.1:8000/v1/prelabel"


def trouble(status: int, content: bytes | None = None, code: str = "told", **headers: str) -> Trouble | None:
    own = json.dumps({"error": {"code": code, "message": "told to"}}).encode()
    named = httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return trouble_of(status, named, own if content is None else content, now=NOW, url=URL)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_nothing_is_wrong_with_what_was_done(status: int) -> None:
    assert trouble(status) is None


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_json", InvalidRequestError),
        (401, "unauthorized", ServiceError),
        (404, "unknown_queue", NotFoundError),
        (409, "stale_lease", ConflictError),
        (413, "too_large", ServiceError),
        (422, "invalid_request", InvalidRequestError),
        (429, "overloaded", OverloadedError),
        (500, "internal", ServiceError),
        (503, "store_unavailable", StoreUnavailableError),
        (503, "not_ready", ServiceError),
    ],
)
def test_what_the_service_says_keeps_its_code_and_its_message(
    status: int, code: str, kind: type[PrelabelError]
) -> None:
    found = trouble(status, code=code)

    assert found is not None
    assert type(found.error) is kind
    assert (found.error.code, found.error.message) == (code, "told to")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 418, 422, 500, 501, 302])
def test_what_will_not_pass_is_not_asked_again(status: int) -> None:
    found = trouble(status)

    assert found is not None
    assert not found.is_passing


@pytest.mark.parametrize(("status", "is_undone"), [(429, True), (502, False), (503, True), (504, False)])
def test_what_may_pass_is_asked_again_and_only_a_refusal_has_done_nothing(status: int, is_undone: bool) -> None:
    found = trouble(status)

    assert found is not None
    assert (found.is_passing, found.is_undone) == (True, is_undone)


@pytest.mark.parametrize("content", [b"", b"<html>Bad Gateway</html>", b"{}", b'{"error": 3}', b"[1", b"\xff\xfe"])
def test_what_is_not_the_services_own_form_is_said_to_be_another_server(content: bytes) -> None:
    found = trouble(502, content)

    assert found is not None
    assert (type(found.error), found.error.code) == (AnswerError, "bad_answer")
    assert "502" in found.error.message
    assert "html" not in found.error.message  # a stranger's page


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Mon, 30 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 30 Nov 2026 13:00:30 +0100", 30.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 5_000, 999_999_999.0),
    ],
)
def test_a_retry_after_is_read_as_seconds_and_as_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, now=NOW) == seconds


def test_an_overload_says_when_there_will_be_room() -> None:
    found = trouble(429, retry_after="7")

    assert found is not None
    assert isinstance(found.error, OverloadedError)
    assert (found.retry_after_s, found.error.room_in_s) == (7.0, 7.0)


@pytest.mark.parametrize(
    ("error", "is_passing", "is_undone"),
    [
        (httpx.ConnectError("refused"), True, True),
        (httpx.ConnectTimeout("slow"), True, True),
        (httpx.ReadError("reset"), True, False),
        (httpx.RemoteProtocolError("half an answer"), True, False),
        (httpx.DecodingError("no gzip"), False, False),
        (httpx.UnsupportedProtocol("ftp"), False, False),
        (httpx.InvalidURL("no port"), False, False),
    ],
)
def test_a_connection_that_broke_may_hold_the_next_time(
    error: httpx.TransportError, is_passing: bool, is_undone: bool
) -> None:
    found = trouble_of_transport(error, url=URL)

    assert (found.is_passing, found.is_undone) == (is_passing, is_undone)
    assert (type(found.error), found.error.code) == (UnreachableError, "unreachable")
    assert URL in found.error.message
    assert found.error.__cause__ is error
