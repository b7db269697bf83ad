"""Checks how long is waited before something is asked again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from serving.integrations.cvat.pause import Pauses

NOON = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    pauses = Pauses(first_s=1.0, most_s=10.0, spread=0.5, draw=lambda: 0.5)

    assert [pauses.seconds(attempt) for attempt in (0, 1, 2, 3, 4, 9_999)] == [1.25, 2.5, 5.0, 10.0, 12.5, 12.5]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Mon, 30 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0.0),
        ("86400", 600.0),
        ("soon", 1.0),
        (None, 1.0),
    ],
)
def test_what_a_server_asks_for_is_kept_to_within_reason(asked: str | None, seconds: float) -> None:
    assert Pauses(draw=lambda: 0.0, now=lambda: NOON).seconds(0, retry_after=asked) == seconds
