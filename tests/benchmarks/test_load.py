"""Checks what the load generator sends and counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import ceiling
from benchmarks.load import Load, answer_end, requests_of, send
from tests.benchmarks.site import Site


def a_load(site: Site, *, bodies: tuple[str, ...], path: str = "/", refused: str = "") -> Load:
    return Load(address=site.address, path=path, connections=3, bodies=bodies, refused=refused)


def test_every_body_is_sent_once_and_every_answer_is_counted(site: Site) -> None:
    bodies = tuple(f"body {n} " * n * 50 for n in range(20))

    answers = send(a_load(site, bodies=bodies))

    assert answers.count == 20
    assert sorted(site.bodies) == sorted(body.encode() for body in bodies)
    assert 0 < answers.p50_ms <= answers.p95_ms <= 1e3 * answers.seconds


def test_an_error_answer_ends_the_load(site: Site) -> None:
    with pytest.raises(RuntimeError, match="404"):
        send(a_load(site, bodies=("a", "b"), path="/nowhere"))


def test_an_answer_with_what_is_refused_ends_the_load(site: Site) -> None:
    with pytest.raises(RuntimeError, match="this one failed"):
        send(a_load(site, bodies=("fine", "this one failed"), refused="failed"))


def test_a_request_that_meets_a_closing_connection_goes_over_a_new_one(site: Site) -> None:
    load = replace(a_load(site, bodies=("a", "dropped once", "b")), connections=1)

    assert send(load).count == 3
    assert site.bodies == [b"a", b"dropped once", b"dropped once", b"b"]


def test_a_connection_that_closes_before_its_first_answer_ends_the_load(site: Site) -> None:
    with pytest.raises(RuntimeError, match="closed a connection"):
        send(a_load(site, bodies=("dropped",)))


def test_a_load_with_an_end_in_time_repeats_its_requests() -> None:
    with ceiling.trivial_server() as address:
        answers = send(Load(address=address, path="/", connections=2, seconds=0.2))

    assert answers.count > 2


def test_a_get_has_no_body() -> None:
    load = Load(address="http://127.0.0.1:80", path="/healthz", connections=1)

    assert list(requests_of(load)) == [b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"]


def test_an_answer_ends_where_its_length_says() -> None:
    head = b"HTTP/1.1 200 OK\r\nA: b\r\nCONTENT-LENGTH: 5\r\n\r\n"

    assert answer_end(head[:-1]) is None
    assert answer_end(head + b"hell") is None
    assert answer_end(head + b"hello" + head) == len(head) + 5


def test_an_answer_in_chunks_ends_with_the_empty_one() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = head + b"5\r\nhello\r\nb;note\r\n0\r\n\r\n 0\r\n\r\n\r\n0\r\n\r\n"

    assert [answer_end(answer[:n]) for n in range(len(answer))] == [None] * len(answer)
    assert answer_end(answer + head) == len(answer)


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="without a length"):
        answer_end(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
