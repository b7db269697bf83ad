"""Stands in for Label Studio where it fails: a loopback server that answers as it is told, one answer a call."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DROP = object()
"""Instead of an answer: the connection is closed when the request has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    method: str
    path: str
    authorization: str | None
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Stub:
    """``answers`` are given in order, the last one again and again; answers of ``/api/token/refresh/`` stand apart."""

    url: str
    answers: list[Any] = field(default_factory=list)
    refreshes: list[Any] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [call.path for call in self.calls]


def a_jwt(kind: str, *, lives_s: float = 300.0, number: int = 0) -> str:
    """A token of the form of Label Studio's."""
    claims = {"token_type": kind, "iat": 1000.0, "exp": 1000.0 + lives_s, "jti": str(number)}
    parts = [json.dumps({"alg": "HS256"}), json.dumps(claims), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


@contextmanager
def a_stub(*, prefix: str = "") -> Iterator[Stub]:
    """A server whose paths begin with ``prefix``; anything else is a page for people."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(prefix + "/"):
                self._give(Answer(body="<!doctype html><p>Welcome", headers={"Content-Type": "text/html"}))
                return
            body = json.loads(content) if content else None
            authorization = self.headers.get("Authorization")
            path = self.path.removeprefix(prefix)
            call = Call(
                method=self.command, path=path, authorization=authorization, body=body, headers=dict(self.headers)
            )
            stub.calls.append(call)
            answers = stub.refreshes if path == "/api/token/refresh/" else stub.answers
            self._give(answers.pop(0) if len(answers) > 1 else answers[0])

        def _give(self, answer: Any) -> None:
            if answer is DROP:
                self.close_connection = True
                return
            body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub = Stub(f"http://127.0.0.1:{server.server_port}{prefix}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
