"""Reads server-sent events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, "Interpreting an event stream".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; ``type`` is "message" where the server names none."""

    type: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectAfter:
    """How long the server wants to be left alone when the stream is lost."""

    seconds: float


def events(lines: Iterable[str]) -> Iterator[Event | ReconnectAfter]:
    """The events of a stream's lines, without their ends; an event that the stream breaks off in is dropped."""
    kind, data = "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield Event(type=kind or "message", data="\n".join(data))
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                kind = value
            case "data":
                data.append(value)
            case "retry" if value.isascii() and value.isdecimal():
                yield ReconnectAfter(seconds=int(value) / 1000.0)
            case _:  # a comment (nothing before the colon), or a field that means nothing to us
                pass
