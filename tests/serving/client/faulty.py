"""Serves scripted answers over real HTTP on loopback: refusals, dropped connections, garbage, silence."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from python_multipart import parse_form


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """A call as it came; ``body`` is its JSON, ``parts`` the files beside it."""

    method: str
    path: str
    headers: Message
    body: Any
    parts: Mapping[str, bytes]


Fault = Callable[["Handler", Got], None]


@dataclass
class Faulty:
    """The server: each call takes the next of the ``faults``, or is answered well when none is left."""

    faults: deque[Fault] = field(default_factory=deque)
    got: list[Got] = field(default_factory=list)
    answers: Callable[[Got], Any] = lambda _: {}
    address: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    faulty: Faulty

    def handle_any(self) -> None:
        got = Got(method=self.command, path=self.path, headers=self.headers, **self._read())
        with self.faulty.lock:
            self.faulty.got.append(got)
            fault = self.faulty.faults.popleft() if self.faulty.faults else well
        fault(self, got)

    do_GET = do_POST = do_DELETE = handle_any

    def _read(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", "0"))
        if not self.headers.get("Content-Type", "").startswith("multipart/"):
            body = self.rfile.read(length)
            return {"body": json.loads(body) if body else None, "parts": {}}
        parts = dict[str, bytes]()

        def take(part: Any) -> None:
            file = getattr(part, "file_object", None)
            name = part.field_name.decode()
            if file is None:
                parts[name] = part.value
            else:
                file.seek(0)
                parts[name] = file.read()

        headers = {"Content-Type": self.headers["Content-Type"].encode(), "Content-Length": str(length).encode()}
        parse_form(headers, self.rfile, take, take)
        return {"body": json.loads(parts.pop("request")), "parts": parts}

    def answer(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def well(handler: Handler, got: Got) -> None:
    handler.answer(200, json.dumps(handler.faulty.answers(got)).encode())


def refused(status: int, *, code: str = "told", message: str = "told to refuse", **headers: str) -> Fault:
    """An answer in the service's form."""
    content = json.dumps({"error": {"code": code, "message": message}}).encode()
    return lambda handler, _: handler.answer(status, content, {k.replace("_", "-"): v for k, v in headers.items()})


def raw(status: int, content: bytes, **headers: str) -> Fault:
    return lambda handler, _: handler.answer(status, content, {k.replace("_", "-"): v for k, v in headers.items()})


def dropped(handler: Handler, _: Got) -> None:
    """Half of an answer, and the connection is gone."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"results": [')
    handler.close_connection = True


def no_http(handler: Handler, _: Got) -> None:
    handler.wfile.write(b"SSH-2.0-what are you saying\r\n\r\n")
    handler.close_connection = True


def silent(handler: Handler, _: Got) -> None:
    """Nothing, until the test is over."""
    handler.faulty.released.wait(60)
    handler.close_connection = True


def nothing_found(got: Got) -> Any:
    """What the service answers to items in which there is nothing, and 413 is not."""
    return {"results": [{"id": i["id"], "task": i["task"], "status": "nothing_found"} for i in got.body["items"]]}


@contextmanager
def faulty_service(*faults: Fault, answers: Callable[[Got], Any] = nothing_found) -> Iterator[Faulty]:
    faulty = Faulty(faults=deque(faults), answers=answers)
    handler = type("FaultyHandler", (Handler,), {"faulty": faulty})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    faulty.address = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    serving.start()
    try:
        yield faulty
    finally:
        faulty.released.set()
        server.shutdown()
        server.server_close()
        serving.join()
