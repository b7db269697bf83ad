"""Gives the calls that a Label Studio 1.23.2 was seen to make (recorded.json): one of each kind, word for word."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("recorded.json")
_CONFIG = (
    '<View><Labels name="label" toName="text"><Label value="PER"/><Label value="ORG"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
# What was imported for "odd texts"; Label Studio took all of it but null, the lone surrogate among it.
_ODD = (
    "",
    "nul\0x",
    "\U0001f600 \u202e rtl \u0301",
    "a" * 200_000,
    123,
    ["a", "b"],
    "ok",
    "../../etc/passwd",
    "\ud800 lone",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A call: below which path of ours, with which headers, and its body as bytes."""

    kind: str
    method: str
    call: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return self.body["tasks"]

    @property
    def label_config(self) -> str:
        body = self.body
        return body.get("label_config") or body.get("schema") or body["project"]["label_config"]


@cache
def recorded() -> dict[str, Recorded]:
    """The calls by their kinds."""
    return {kind: _recorded(kind, found) for kind, found in json.loads(_FILE.read_text()).items()}


def _recorded(kind: str, found: dict[str, Any]) -> Recorded:
    body = found.get("body") or ("first_task" in found and _completed(kind, found)) or None
    content = json.dumps(body).encode() if body else b""  # as requests, and with it Label Studio, writes it
    assert len(content) == found.get("content_length", len(content))  # of what was cut short, the rest was so long
    call = found["path"].rpartition("/")[2]
    return Recorded(kind=kind, method=found["method"], call=call, headers=found["headers"], content=content)


def _completed(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    """A body of which only the beginning was kept."""
    first = found["first_task"]
    texts = _ODD if kind.endswith("odd texts") else [f"Alice {n} " + "lorem " * 20 for n in range(250)]
    data = [{"nottext": "x", "text": "ok"} if text == "ok" else {"text": text} for text in texts]
    tasks = [first | {"id": first["id"] + n, "inner_id": n + 1, "data": one} for n, one in enumerate(data)]
    project = f"{first['project']}.1795294252"
    return {
        "tasks": tasks,
        "project": project,
        "label_config": _CONFIG,
        "params": {"login": None, "password": None, "context": None},
    }
