"""Speaks the agent protocol of one CVAT function: what it is, and its queue of annotation requests.

Reference: cvat_cli 2.80, _internal/agent.py and _internal/commands_functions.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from serving.integrations.cvat.attribute import Attribute
from serving.integrations.cvat.label import ANY, Label
from serving.integrations.cvat.server import CvatServer

Category = Literal["interactive", "batch"]
Kind = Literal["detector", "interactor"]

CATEGORIES: tuple[Category, Category] = ("interactive", "batch")  # the urgent ones first


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """An annotation request that this agent has taken on."""

    id: str
    params: Mapping[str, Any]


class FunctionQueue:
    """The queue of a function on a server, as one agent sees it."""

    def __init__(self, server: CvatServer, function_id: int, *, agent_id: str) -> None:
        self._server, self._agent_id, self.function_id = server, agent_id, function_id
        self._path = f"functions/queues/function:{function_id}"

    def function(self) -> Mapping[str, Any]:
        """What CVAT knows of the function: its kind, its labels."""
        return self._server.get(f"functions/{self.function_id}")

    def acquire(self, category: Category) -> Assignment | None:
        """The next request of a category; None if nothing waits."""
        body = {"agent_id": self._agent_id, "request_category": category}
        answer = self._server.send("POST", f"{self._path}/requests/acquire", body)
        given = answer.get("ar_assignment") if isinstance(answer, dict) else None
        return Assignment(id=str(given["ar_id"]), params=given["ar_params"]) if given else None

    def update(self, request_id: str, *, progress: float) -> None:
        body = {"agent_id": self._agent_id, "progress": progress}
        self._server.send("POST", f"{self._path}/requests/{request_id}/update", body, attempts=1)

    def complete(self, request_id: str, result: Mapping[str, Any]) -> None:
        """Hand in the result, with retries: the work must not be lost to a passing trouble."""
        body = {"agent_id": self._agent_id, **result}
        self._server.send("POST", f"{self._path}/requests/{request_id}/complete", body)

    def fail(self, request_id: str, reason: str) -> None:
        body = {"agent_id": self._agent_id, "exc_info": reason}
        self._server.send("POST", f"{self._path}/requests/{request_id}/fail", body)

    @contextmanager
    def watched(self, *, silence_s: float | None) -> Iterator[Iterator[str]]:
        """The lines of the queue's event stream."""
        with self._server.events(f"{self._path}/watch", silence_s=silence_s) as lines:
            yield lines


def register(
    server: CvatServer,
    name: str,
    *,
    kind: Kind,
    labels: Sequence[Label] = (),
    is_public: bool = False,
) -> int:
    """Make a function that an agent can then work for, and answer its id.

    An interactor takes at least one positive point or a box, and any number of negative points.
    """
    what: dict[str, Any]
    if kind == "detector":
        what = {"labels_v2": list(map(_label, labels))}
    else:
        what = {"min_pos_points": 0, "min_neg_points": 0, "startswith_box_optional": True}
    visibility = "public" if is_public else "private"
    body = {"provider": "native", "name": name, "visibility": visibility, "kind": kind, **what}
    return int(server.send("POST", "functions", body, attempts=1)["id"])


def _label(label: Label) -> dict[str, Any]:
    known = {"name": label.name, "attributes": list(map(_attribute, label.attributes))}
    return known if label.type == ANY else known | {"type": label.type}


def _attribute(attribute: Attribute) -> dict[str, Any]:
    return {"name": attribute.name, "input_type": attribute.input_type, "values": list(attribute.values)}
