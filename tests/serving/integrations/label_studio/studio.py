"""Plays a Label Studio on loopback: its task list, its predictions, its files, and what can go wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

TOKEN = "0123456789abcdef0123456789abcdef01234567"
CONFIG = """
<View><Labels name="label" toName="text"><Label value="person"/></Labels><Text name="text" value="$text"/></View>
"""
_START = datetime(2026, 11, 21, tzinfo=UTC)

# Of the next import of predictions: stored, but the answer is lost; not stored, as the connection was lost before; an
# error before or after it was stored; refused as too large if it has more rows than one.
Fault = Literal["lost after", "lost before", "500 after", "503 before", "too large"]


@dataclass(slots=True)
class Studio:
    """A server with one project. ``predictions`` is its database of them.

    Attributes:
        left_out: tasks whose predictions are left out in silence, as invalid ones are.
        stores: where not set, an import waits for it before it stores anything, whoever has left meanwhile.
    """

    port: int = 0
    project: int = 2
    label_config: str = CONFIG
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: set[int] = field(default_factory=set)
    misses: set[int] = field(default_factory=set)  # annotations that are there, and said not to be
    faults: deque[Fault] = field(default_factory=deque)
    is_down: bool = False
    stores: asyncio.Event = field(default_factory=asyncio.Event)
    importing: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[tuple[str, str, str | None]] = field(default_factory=list)
    clock: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def now(self) -> str:
        """A later moment than the one before."""
        self.clock += 1
        return (_START + timedelta(seconds=self.clock)).isoformat()

    def add_tasks(self, *texts: str, first: int | None = None) -> list[int]:
        number = first or max(self.tasks, default=0) + 1
        for n, text in enumerate(texts):
            self.tasks[number + n] = {"id": number + n, "data": {"text": text}, "updated_at": self.now()}
        return list(range(number, number + len(texts)))

    def annotate(self, task: int, *labels: tuple[int, int, str], number: int | None = None, **more: Any) -> int:
        """An annotation of a text with these spans: a new one, or one as it is now."""
        number = number or max(self.annotations, default=0) + 1
        result = [
            {
                "id": f"r{n}",
                "type": "labels",
                "from_name": "label",
                "to_name": "text",
                "value": {"start": start, "end": end, "labels": [label]},
            }
            for n, (start, end, label) in enumerate(labels)
        ]
        moment = self.now()
        before = self.annotations.get(number, {"created_at": moment})
        self.annotations[number] = {
            "id": number,
            "task": task,
            "result": result,
            "completed_by": 1,
            "was_cancelled": False,
            "created_at": before["created_at"],
            "updated_at": moment,
            "lead_time": 4.2,
            "parent_prediction": None,
            **more,
        }
        self.tasks[task]["updated_at"] = moment
        return number

    def delete_annotation(self, number: int) -> None:
        self.tasks[self.annotations.pop(number)["task"]]["updated_at"] = self.now()

    def predicted(self) -> Counter[int]:
        """How many predictions each task has."""
        return Counter(row["task"] for row in self.predictions)

    def store(self, rows: Iterable[dict[str, Any]]) -> int:
        kept = [row for row in rows if row["task"] not in self.left_out]
        for row in kept:
            self.predictions.append(row | {"id": len(self.predictions) + 1, "created_at": self.now()})
        return len(kept)

    async def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any] | None:
        """A status and what is said, or None for a connection that is dropped."""
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match method, url.path.strip("/").split("/"):
            case "GET", ["api", "projects", number] if int(number) == self.project:
                return 200, {
                    "id": self.project,
                    "title": "t",
                    "label_config": self.label_config,
                    "created_at": _START.isoformat(),
                }
            case "GET", ["api", "tasks"]:
                return 200, self._listed(query)
            case "GET", ["api", "annotations", number] if int(number) in self.annotations.keys() - self.misses:
                return 200, self.annotations[int(number)]
            case "GET", ["api", "predictions"]:
                return 200, [row for row in self.predictions if row["task"] == int(query["task"])]
            case "POST", ["api", "projects", number, "import", "predictions"] if int(number) == self.project:
                return await self._imported(json.loads(body))
            case _:
                return 404, {"detail": "Not found."}

    async def _imported(self, rows: Sequence[dict[str, Any]]) -> tuple[int, Any] | None:
        fault = self.faults.popleft() if self.faults else None
        self.importing.set()
        await self.stores.wait()
        if fault == "lost before":
            return None
        if fault == "503 before":
            return 503, {"detail": "busy"}
        if fault == "too large" and len(rows) > 1:
            self.faults.append("too large")
            return 413, {"detail": "too large"}
        if any(row["task"] not in self.tasks for row in rows):
            return 400, {"detail": "Validation error"}
        created = self.store(rows)
        if fault == "lost after":
            return None
        return (500, {"detail": "oops"}) if fault == "500 after" else (201, {"created": created})

    def _listed(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of tasks, by the filters that serving/integrations/label_studio/api.py uses."""
        asked = json.loads(query["query"])
        rows = [self._row(task) for _, task in sorted(self.tasks.items())]
        if "selectedItems" in asked:
            rows = [row for row in rows if row["id"] in asked["selectedItems"]["included"]]
        for one in asked.get("filters", {}).get("items", []):
            rows = [row for row in rows if _passes(row, one["filter"].rpartition(":")[2], one["value"])]
        return {"tasks": rows[: int(query["page_size"])], "total": len(rows)}

    def _row(self, task: dict[str, Any]) -> dict[str, Any]:
        annotations = [one for one in self.annotations.values() if one["task"] == task["id"]]
        versions = sorted({row["model_version"] for row in self.predictions if row["task"] == task["id"]})
        cancelled = sum(one["was_cancelled"] for one in annotations)
        return task | {
            "annotations": annotations,
            "total_annotations": len(annotations) - cancelled,
            "cancelled_annotations": cancelled,
            "total_predictions": self.predicted()[task["id"]],
            "predictions_model_versions": ",".join(versions),
        }


def _passes(row: dict[str, Any], column: str, value: Any) -> bool:
    match column:
        case "id":
            return row["id"] > value
        case "updated_at":
            return datetime.fromisoformat(row["updated_at"]) >= datetime.fromisoformat(value)
        case _:
            return value[0] in row["predictions_model_versions"]


@asynccontextmanager
async def a_studio(*texts: str, port: int = 0) -> AsyncIterator[Studio]:
    """A running server with tasks of these texts, numbered from 1 on."""
    studio, at_work = Studio(), set[asyncio.Task[None]]()
    studio.stores.set()
    studio.add_tasks(*texts)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(studio, reader, writer))
        at_work.add(task)
        task.add_done_callback(at_work.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    studio.port = server.sockets[0].getsockname()[1]
    try:
        yield studio
    finally:
        server.close()
        for task in tuple(at_work):
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)
        await server.wait_closed()


async def _serve(studio: Studio, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        while not studio.is_down and (head := await reader.readuntil(b"\r\n\r\n")):
            first, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, target, _ = first.split()
            studio.calls.append((method, target, headers.get("authorization")))
            if studio.is_down or (answer := await _answer(studio, method, target, headers, body)) is None:
                break
            writer.write(answer)
            await writer.drain()
    writer.close()
    with suppress(ConnectionError, asyncio.CancelledError):
        await writer.wait_closed()


async def _answer(studio: Studio, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes | None:
    path = target.partition("?")[0]
    if headers.get("authorization") != f"Token {TOKEN}":
        return _written(401, b"{}")
    if path in studio.files:
        return _written(200, studio.files[path])
    found = await studio.answer(method, target, body)
    return None if found is None else _written(found[0], json.dumps(found[1]).encode())


def _written(status: int, content: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content
