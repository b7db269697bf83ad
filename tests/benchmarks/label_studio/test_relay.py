"""Checks that the relay passes everything on and knows an answer to ``/predict``."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from benchmarks.label_studio.relay import is_predict, relaying

_LARGE = b"x" * 3_000_000


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers a POST with what was sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/cut/"):
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def echoing() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_answer_to_predict_is_noted_and_everything_passed_on() -> None:
    with (
        echoing() as address,
        relaying(address) as relay,
        httpx.Client(base_url=relay.address, trust_env=False) as client,
    ):
        before = client.post("/label-studio/ner/k/setup", content=b"{}").content
        found = client.post("/label-studio/ner/k/predict", content=_LARGE).content

    assert (before, found) == (b"{}", _LARGE)
    [exchange] = relay.exchanges
    assert exchange.ended_s is not None
    assert exchange.ended_s > exchange.began_s
    assert exchange.body == _LARGE


def test_a_call_that_is_cut_has_no_end() -> None:
    with echoing() as address, relaying(address) as relay, pytest.raises(httpx.TransportError):
        httpx.post(f"{relay.address}/cut/predict", content=b"{}", trust_env=False)

    [exchange] = relay.exchanges
    assert exchange.ended_s is None


def test_without_a_service_the_connection_is_closed() -> None:
    with echoing() as address:
        pass
    with relaying(address) as relay, pytest.raises(httpx.TransportError):
        httpx.post(f"{relay.address}/predict", content=b"{}", trust_env=False)


@pytest.mark.parametrize(
    ("chunk", "is_one"),
    [
        (b"POST /label-studio/ner/key/predict HTTP/1.1\r\nHost: a\r\n\r\n{", True),
        (b"POST /label-studio/ner/key/setup HTTP/1.1\r\n", False),
        (b"GET /predict HTTP/1.1\r\n", False),
        (b'"POST /predict HTTP/1.1', False),
    ],
)
def test_a_call_to_predict_is_known_by_its_first_line(chunk: bytes, is_one: bool) -> None:
    assert is_predict(chunk) is is_one
