"""Answers as the service does, without Ray and a store."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from models.adapter import Adapter
from models.media import decode
from models.types import Content


@contextmanager
def a_service_that_answers(adapter: Adapter[Any, Any], *, instead: str | None = None) -> Iterator[str]:
    """The address of a loopback server that labels each recording by the adapter, or says one word ``instead``."""
    one_at_a_time = threading.Lock()

    def label(data: str) -> dict[str, Any]:
        payloads = [decode(Content(media="audio", data=base64.b64decode(data)))]
        with one_at_a_time:
            [prediction] = adapter.read(adapter.forward(adapter.prepare(payloads)), payloads)
        found = [{"label": one.label, "text": instead or one.text} for one in prediction.annotations]
        return {"status": "labels", "annotations": found}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.headers["Content-Type"] != "application/json":
                self.send_error(422)
                return
            items = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["items"]
            answer = json.dumps({"results": [label(item["data"]) for item in items]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
