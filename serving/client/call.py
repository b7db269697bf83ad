"""Describes one call of the service: what is sent, and how its answer is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import orjson
from pydantic import ValidationError

from serving.client.errors import AnswerError

T = TypeVar("T")

_JSON = "application/json"
_SHARE_TO_STORE, _MOST_TO_STORE_S = 0.25, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One call.

    ``parts`` are files by the names that the body's items give them; with any, the call is a form. ``is_repeatable``
    says that doing it twice comes to the same as once. ``says_deadline``: the body tells the service how long the
    client waits, or the caller's own ``deadline_s`` where that is shorter.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    read: Callable[[bytes], T]
    body: Mapping[str, object] | None = None
    parts: Mapping[str, bytes] = field(default_factory=dict)
    query: Mapping[str, str | int] = field(default_factory=dict)
    is_repeatable: bool = True
    says_deadline: bool = False
    deadline_s: float | None = None

    def result(self, content: bytes, *, url: str) -> T:
        """What the answer says.

        Raises:
            AnswerError: bad_answer, it is not what this call is answered with.
        """
        try:
            return self.read(content)
        except ValidationError as err:
            what = f"{err.error_count()} problems, the first: {err.errors(include_input=False)[0]['msg']}"
            message = f"{url} answered what cannot be read ({what}); is this the service's address, and its version?"
            raise AnswerError("bad_answer", message) from err

    def content(self, *, left_s: float) -> bytes | None:
        """The JSON that is sent; None where there is none.

        Args:
            left_s: how long the client will wait from now on.
        """
        if self.body is None:
            return None
        deadline = {"deadline_s": self._deadline_s(left_s)} if self.says_deadline else {}
        return to_json({**self.body, **deadline})

    def _deadline_s(self, left_s: float) -> float:
        """What is left without the time that storing the results may take past the deadline."""
        own_s = max(left_s - min(_MOST_TO_STORE_S, _SHARE_TO_STORE * left_s), 0.001)
        return min(self.deadline_s or own_s, own_s)


def to_json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # lone surrogates, which the service refuses by name
        return json.dumps(value, allow_nan=False).encode("ascii")


def form(content: bytes, parts: Mapping[str, bytes]) -> list[tuple[str, tuple[str | None, bytes, str]]]:
    """The parts of a form as httpx takes them (serving/upload.py)."""
    files = [(name, (name, data, "application/octet-stream")) for name, data in parts.items()]
    return [("request", (None, content, _JSON)), *files]
