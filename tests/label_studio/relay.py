"""Stands between Label Studio and the service, passes everything on, and notes it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

_OF_THE_CONNECTION = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A call that was passed on, without its path's key, and what came of it."""

    what: str
    path: str = field(repr=False)
    sent: Any = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    status: int
    answer: Any = field(repr=False)


@dataclass(slots=True)
class Relay:
    """``url`` is what Label Studio is told in place of the service's address."""

    url: str
    target: str
    calls: list[Passed] = field(default_factory=list)

    def of(self, what: str) -> list[Passed]:
        """The calls of one kind, such as ``predict``."""
        return [call for call in self.calls if call.what == what]

    @property
    def asked(self) -> list[list[int]]:
        """The ids of the tasks in each ``/predict``."""
        return [[task["id"] for task in call.sent["tasks"]] for call in self.of("predict")]

    def hooks(self, action: str) -> list[Passed]:
        """The webhooks of one action."""
        return [call for call in self.of("webhook") if call.sent["action"] == action]


@contextmanager
def a_relay(target: str) -> Iterator[Relay]:
    """A relay to the service at ``target``, on a loopback port."""
    client = httpx.Client(base_url=target, timeout=120.0, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _pass(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
            answer = client.request(self.command, self.path, content=content, headers=headers)
            self._note(content, headers, answer)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("content-type", "application/json"))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def _note(self, content: bytes, headers: Mapping[str, str], answer: httpx.Response) -> None:
            relay.calls.append(
                Passed(
                    what=self.path.partition("?")[0].rstrip("/").rpartition("/")[2],
                    path=self.path,
                    sent=json.loads(content) if content else None,
                    headers=headers,
                    status=answer.status_code,
                    answer=answer.json() if answer.content else None,
                )
            )

        do_GET = do_POST = _pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    relay = Relay(f"http://127.0.0.1:{server.server_port}", target)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with client:
            yield relay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
