"""Checks that an open loop keeps its schedule and counts everything that a server can do to a request."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import processes, soak
from benchmarks.open_loop import Plan, sending
from benchmarks.service import free_port

_ANSWERS = {
    "text": b'{"results":[{"id":"1","status":"labels"}]}',
    "corrupt image": b'{"results":[{"id":"1","status":"failed","error":{"code":"unreadable_image"}}]}',
    "busy": b'{"error":{"code":"overloaded"}}',
    "blunt": b'{"error":{"code":"overloaded"}}',
    "broken": b'{"error":{"code":"internal"}}',
}
_STATUS_OF = {"busy": 503, "blunt": 429, "broken": 500}
_HELD_S = 1.0
_KINDS = (*_ANSWERS, "dropped")


class _Site(ThreadingHTTPServer):
    """A server that does what a body's first word says, and remembers how often; it can make everybody wait."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.done: Counter[str] = Counter()
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _Site)
        self.server.gate.wait()
        kind = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.server.lock:
            self.server.done[kind] += 1
        if kind == "held":
            threading.Event().wait(_HELD_S)
        if kind == "dropped":
            self.close_connection = True
            return
        self.send_response(_STATUS_OF.get(kind, 200))
        if kind == "busy":
            self.send_header("Retry-After", "2")
        self._end(_ANSWERS.get(kind, _ANSWERS["text"]))

    def do_GET(self) -> None:
        self.send_response(200)
        self._end(b'{"status":"ok"}')

    def _end(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[_Site]:
    with _Site() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


def a_plan(
    site: _Site, *, kinds: tuple[str, ...], seconds: float = 0.5, connections: int = 8, patience_s: float = 30.0
) -> Plan:
    return Plan(
        address=f"http://127.0.0.1:{site.server_address[1]}",
        path="/",
        rate_per_s=60.0,
        seconds=seconds,
        requests=tuple((kind, kind) for kind in kinds),
        connections=connections,
        deadline_s=0.1 if connections == 1 else 30.0,
        patience_s=patience_s,
    )


def test_a_soak_counts_every_way_of_not_answering(site: _Site) -> None:
    plan = a_plan(site, kinds=_KINDS, seconds=2.0)

    result = soak.overload(plan, peak_per_s=40.0, watch=lambda: processes.usage([os.getpid()]))

    items = result.items
    assert all(site.done[kind] == 20 for kind in _KINDS)
    assert items.scheduled == 120 == sum(sum(counts.values()) for counts in items.outcomes.values())
    assert items.statuses == {"200": 40, "503": 20, "429": 20, "500": 20}
    assert items.shed == {"503": 20}
    assert items.shed_bluntly == 20
    assert items.server_errors == 20
    assert items.unanswered == {"cut": 20}
    assert items.good == sum(items.good_by_fifth) == 20
    assert items.outcomes["corrupt image"] == {"failed: unreadable_image": 20}
    missed = {judgement.what for judgement in soak.judge(result) if not judgement.is_met}
    assert missed >= {"5xx that are no refusals", "refusals without Retry-After", "sent and not answered"}
    assert result.health.statuses == {"200": 20}
    assert result.usages


def test_a_server_that_does_all_breaks_none_of_the_bars_for_answers(site: _Site) -> None:
    plan = a_plan(site, kinds=("text", "corrupt image", "busy"), seconds=2.0)

    result = soak.overload(plan, peak_per_s=40.0, watch=lambda: processes.usage([os.getpid()]))

    met = {judgement.what for judgement in soak.judge(result) if judgement.is_met}
    assert met >= {
        "5xx that are no refusals",
        "refusals without Retry-After",
        "sent and not answered",
        "wrong outcomes",
    }


def test_a_request_that_waits_too_long_for_a_connection_is_not_sent(site: _Site) -> None:
    site.gate.clear()

    with sending(a_plan(site, kinds=("text",), connections=1, patience_s=1.0)) as requests:
        counted = requests.counted()

    assert counted.unanswered == {"no answer": 1}
    assert counted.not_sent == counted.scheduled - 1 > 0


def test_those_behind_a_stall_count_from_when_they_were_due(site: _Site) -> None:
    """One connection, whose first request is held for a second: the others are due within half a second of it."""
    kinds = ("held", *["text"] * 9)
    plan = replace(a_plan(site, kinds=kinds, connections=1), rate_per_s=20.0, deadline_s=30.0)

    with sending(plan) as requests:
        counted = requests.counted()

    assert site.done["held"] == 1
    assert counted.good == counted.scheduled == 10
    assert min(counted.latencies_ms) >= 1e3 * (_HELD_S - plan.seconds)


def test_a_server_that_is_not_there_leaves_requests_unanswered(site: _Site) -> None:
    plan = replace(a_plan(site, kinds=("text",)), address=f"http://127.0.0.1:{free_port()}")

    with sending(plan) as requests:
        counted = requests.counted()

    assert counted.unanswered == {"refused": 30}
    assert counted.scheduled == 30
