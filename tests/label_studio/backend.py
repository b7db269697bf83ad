"""Stands in for a model behind Label Studio's backend protocol, on loopback, and notes what it is asked."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.label_studio.builders import a_region


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    path: str
    body: Any
    headers: Mapping[str, str]


@dataclass(slots=True)
class FakeBackend:
    """``answered`` is set when an answer to ``/predict`` has been given; ``password`` is what it wants from now on."""

    url: str
    password: str | None = None
    calls: list[Asked] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)

    @property
    def paths(self) -> list[str]:
        return [call.path for call in self.calls]


@contextmanager
def a_backend(
    *,
    model_version: str = "mv1",
    user: str | None = None,
    password: str | None = None,
    health_s: float = 0.0,
    statuses: Mapping[str, int] | None = None,
) -> Iterator[FakeBackend]:
    """A backend that finds one box in every task.

    Args:
        user: Basic auth that every call must bring, with ``password``.
        health_s: how long ``/health`` takes.
        statuses: what to answer on some paths, instead of 200.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body: Any = json.loads(content) if content else None
            backend.calls.append(Asked(path=self.path, body=body, headers=dict(self.headers)))
            status = (statuses or {}).get(self.path, 200)
            wanted = "Basic " + base64.b64encode(f"{user}:{backend.password}".encode()).decode()
            if user is not None and self.headers.get("Authorization") != wanted:
                status = 401
            answer: dict[str, Any] = {"status": "UP"}
            match self.path:
                case "/health":
                    time.sleep(health_s)
                case "/setup":
                    answer = {"model_version": model_version}
                case "/predict":
                    result = {"result": [a_region()], "score": 0.5, "model_version": model_version}
                    answer = {"results": [result for _ in body["tasks"]]}
                case "/webhook":
                    pass
                case _:
                    status = 404
            self._give(status, json.dumps(answer).encode())

        def _give(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:
                return  # Label Studio has not waited
            if self.path == "/predict":
                backend.answered.set()

        do_GET = do_POST = _answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    backend = FakeBackend(f"http://127.0.0.1:{server.server_port}", password)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield backend
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
