"""Answers a load as the load itself says, and remembers what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HELD_S = 1.0
_LABELLED = b'{"results":[{"id":"1","status":"labels"}]}'
# By what a request's body says; every other body is echoed.
ANSWERS = {
    "text": _LABELLED,
    "corrupt image": b'{"results":[{"id":"1","status":"failed","error":{"code":"unreadable_image"}}]}',
    "busy": b'{"error":{"code":"overloaded"}}',
    "blunt": b'{"error":{"code":"overloaded"}}',
    "broken": b'{"error":{"code":"internal"}}',
}
_STATUS_OF = {"busy": 503, "blunt": 429, "broken": 500}


class Site(ThreadingHTTPServer):
    """A server on a free port of this machine; while its ``gate`` is closed, everybody waits."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    """A body "held" is answered after a second, "dropped" not at all, "dropped once" not at first.

    /nowhere is not found.
    """

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, Site)
        self.server.gate.wait()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        kind = body.decode()
        if kind == "dropped" or (kind == "dropped once" and self.server.bodies.count(body) == 1):
            self.close_connection = True
            return
        if kind == "held":
            threading.Event().wait(HELD_S)
        self.send_response(404 if self.path == "/nowhere" else _STATUS_OF.get(kind, 200))
        if kind == "busy":
            self.send_header("Retry-After", "2")
        self._end(_LABELLED if kind == "held" else ANSWERS.get(kind, body))

    def do_GET(self) -> None:
        self.send_response(200)
        self._end(b'{"status":"ok"}')

    def _end(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def answering() -> Iterator[Site]:
    """A site that answers as long as the context."""
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()
