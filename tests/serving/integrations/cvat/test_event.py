"""Checks that a stream of server-sent events is read as the standard says."""

from __future__ import annotations

import pytest

from serving.integrations.cvat.event import Event, ReconnectAfter, events


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["event: a", "data: 1", ""], [Event(type="a", data="1")]),
        (["data: 1", "data:2", ""], [Event(type="message", data="1\n2")]),
        (["event: a", ""], []),
        (["event: a", "data: 1"], []),
        ([": comment", "", "event:a", "data", ""], [Event(type="a", data="")]),
        (["event: a", "data: 1", "", "data: 2", ""], [Event(type="a", data="1"), Event(type="message", data="2")]),
        (["retry: 1500", "retry: soon", "retry: ²"], [ReconnectAfter(seconds=1.5)]),
        (["data: a: b", "id: 7", ""], [Event(type="message", data="a: b")]),
    ],
)
def test_events_are_what_stands_between_empty_lines(lines: list[str], found: list[object]) -> None:
    assert list(events(lines)) == found
