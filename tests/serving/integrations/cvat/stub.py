"""Is a CVAT server on loopback, as far as auto-annotation and agents look at one; it can be told to fail."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
import zipfile
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "cvat-token"
_NOW = "2026-01-02T03:04:05.000000Z"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is answered in place of what was asked; ``is_done`` says whether it is done all the same."""

    status: int
    retry_after: str | None = None
    is_done: bool = False


@dataclass(kw_only=True)
class StubTask:
    """A task: files by their names, and labels as CVAT's REST API has them."""

    files: Sequence[tuple[str, bytes]]
    labels: Sequence[Mapping[str, Any]]
    chunk: int = 36
    deleted: Sequence[int] = ()
    kind: str = "imageset"
    annotations: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class Call:
    method: str
    path: str
    body: Any
    authorization: str | None
    at: float


@dataclass
class StubCvat:
    """What the server holds, and every call it got, in order.

    ``faults`` are used up one by one by calls whose path ends so. ``events`` are lines of the queue's stream, ``None``
    ends it; without ``has_events`` there is no stream.
    """

    tasks: dict[int, StubTask] = field(default_factory=dict)
    functions: dict[int, dict[str, Any]] = field(default_factory=dict)
    waiting: dict[str, deque[dict[str, Any]]] = field(default_factory=lambda: defaultdict(deque))
    completed: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    progress: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    calls: list[Call] = field(default_factory=list)
    events: deque[str | None] = field(default_factory=deque)
    has_events: bool = False
    address: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def ask(self, category: str, request_id: str, params: Mapping[str, Any], *, says_so: bool = False) -> None:
        """Put an annotation request into the queue."""
        with self.changed:
            self.waiting[category].append({"ar_id": request_id, "ar_params": dict(params)})
            if says_so:
                self.events += ["event: newrequest", f'data: {{"request_category": "{category}"}}', ""]
            self.changed.notify_all()

    def say(self, *lines: str | None) -> None:
        with self.changed:
            self.events += lines
            self.changed.notify_all()

    def until(self, is_true: Any, timeout_s: float = 30.0) -> None:
        with self.changed:
            assert self.changed.wait_for(is_true, timeout=timeout_s), self.paths()

    def paths(self, ending: str = "") -> list[str]:
        return [f"{call.method} {call.path}" for call in self.calls if call.path.endswith(ending)]


@contextmanager
def a_cvat(**held: Any) -> Iterator[StubCvat]:
    """A server that runs."""
    stub = StubCvat(**held)

    class Handler(_Handler):
        cvat = stub

    server = _Server(("127.0.0.1", 0), Handler)
    stub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        stub.say(None)
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that ends while its connection is kept alive is no error; any other is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]


class _Handler(BaseHTTPRequestHandler):
    cvat: StubCvat
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path).removeprefix("/api/").rstrip("/")
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(content) if content else None
        call = Call(
            method=method, path=path, body=body, authorization=self.headers.get("Authorization"), at=time.monotonic()
        )
        with self.cvat.changed:
            self.cvat.calls.append(call)
            faults = next((own for ending, own in self.cvat.faults.items() if own and path.endswith(ending)), None)
            fault = faults.popleft() if faults else None
            self.cvat.changed.notify_all()
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        with suppress(BrokenPipeError, ConnectionResetError):
            if call.authorization != f"Bearer {TOKEN}" and path != "server/about":
                self._answer(401, {"detail": "Authentication credentials were not provided."})
            elif fault is not None:
                if fault.is_done:
                    self._do(method, path.split("/"), query, body)
                self._answer(fault.status, {"detail": "told to fail"}, retry_after=fault.retry_after)
            elif path.endswith("/watch"):
                self._watch()
            else:
                answer = self._do(method, path.split("/"), query, body)
                if isinstance(answer, bytes):
                    self._answer(200, answer)
                else:
                    self._answer(404 if answer is None else 200, answer or {"detail": "Not found."})

    def _answer(self, status: int, content: object, *, retry_after: str | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/vnd.cvat+json"
        )
        self.send_header("Content-Length", str(len(data)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(data)

    def _do(self, method: str, path: list[str], query: Mapping[str, str], body: Any) -> Any:
        cvat = self.cvat
        match method, path:
            case "GET", ["server", "about"]:
                return {"name": "CVAT", "description": "", "version": "2.80.0", "logo_url": "/logo", "subtitle": ""}
            case "GET", ["tasks", number] if int(number) in cvat.tasks:
                return _task(int(number), cvat.tasks[int(number)])
            case "GET", ["tasks", number, "data", "meta"]:
                return _meta(cvat.tasks[int(number)])
            case "GET", ["tasks", number, "data"]:
                return _data(cvat.tasks[int(number)], query)
            case "GET", ["labels"]:
                return _page(cvat.tasks[int(query["task_id"])].labels, int(query.get("page", 1)))
            case (("PUT" | "PATCH"), ["tasks", number, "annotations"]):
                cvat.tasks[int(number)].annotations.append({"method": method, "action": query.get("action"), **body})
                return {"version": 0, "tags": [], "shapes": [], "tracks": []}
            case "POST", ["functions"]:
                number = 1 + len(cvat.functions)
                cvat.functions[number] = {"id": number, **body}
                return cvat.functions[number]
            case "GET", ["functions", number]:
                return cvat.functions.get(int(number))
            case "POST", ["functions", "queues", queue, "requests", *rest]:
                if int(queue.removeprefix("function:")) in cvat.functions:
                    return self._queue(rest, body)
        return None

    def _queue(self, path: list[str], body: Any) -> Any:
        cvat = self.cvat
        assert len(body["agent_id"]) > 8
        with cvat.changed:
            match path:
                case ["acquire"]:
                    waiting = cvat.waiting[body["request_category"]]
                    return {"ar_assignment": waiting.popleft() if waiting else None}
                case [request_id, "update"]:
                    cvat.progress[request_id].append(body["progress"])
                case [request_id, "complete"]:
                    cvat.completed[request_id] = {key: value for key, value in body.items() if key != "agent_id"}
                case [request_id, "fail"]:
                    cvat.failed[request_id] = body["exc_info"]
            cvat.changed.notify_all()
        return {"done": True}

    def _watch(self) -> None:
        if not self.cvat.has_events:
            self._answer(404, {"detail": "Not found."})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while True:
            with self.cvat.changed:
                self.cvat.changed.wait_for(lambda: self.cvat.events)
                line = self.cvat.events.popleft()
            if line is None:
                return
            self.wfile.write(f"{line}\n".encode())
            self.wfile.flush()


def _task(number: int, task: StubTask) -> dict[str, Any]:
    return {
        "url": "",
        "id": number,
        "name": f"task {number}",
        "project_id": None,
        "owner": None,
        "assignee": None,
        "created_date": _NOW,
        "updated_date": _NOW,
        "status": "annotation",
        "mode": "annotation",
        "dimension": "2d",
        "size": len(task.files),
        "data": number,
        "data_chunk_size": task.chunk,
        "data_original_chunk_type": task.kind,
        "data_compressed_chunk_type": task.kind,
        "organization": None,
        "organization_id": None,
        "jobs": {"count": 1, "completed": 0, "validation": 0, "url": ""},
        "labels": {"url": ""},
    }


def _meta(task: StubTask) -> dict[str, Any]:
    frames = [{"name": name, "width": 0, "height": 0, "related_files": 0} for name, _ in task.files]
    return {
        "chunks_updated_date": _NOW,
        "chunk_size": task.chunk,
        "size": len(task.files),
        "image_quality": 70,
        "start_frame": 0,
        "stop_frame": len(task.files) - 1,
        "frame_filter": "",
        "frames": frames if task.kind == "imageset" else frames[:1],
        "deleted_frames": list(task.deleted),
        "included_frames": None,
    }


def _data(task: StubTask, query: Mapping[str, str]) -> bytes:
    assert query["quality"] == "original"
    number = int(query["number"])
    if query["type"] == "frame":
        return task.files[number][1]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as chunk:
        for place, (_, data) in enumerate(task.files[number * task.chunk : (number + 1) * task.chunk]):
            chunk.writestr(f"{place:06d}.png", data)
    return file.getvalue()


def _page(labels: Sequence[Mapping[str, Any]], page: int, size: int = 2) -> dict[str, Any]:
    """A few labels only, so that clients must ask for the next ones."""
    shown = labels[(page - 1) * size : page * size]
    following = "more" if page * size < len(labels) else None
    return {"count": len(labels), "next": following, "previous": None, "results": list(shown)}
