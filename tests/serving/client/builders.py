"""Builds requests, and surroundings in which time passes only by sleeping."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.prelabel import Request
from serving.client.surroundings import Surroundings

BEGAN = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


@dataclass
class Time:
    """A clock that goes on when somebody sleeps; ``waits`` are how long."""

    passed_s: float = 0.0
    draw: float = 0.5
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.passed_s += seconds

    def surroundings(self) -> Surroundings:
        return Surroundings(
            clock=lambda: self.passed_s,
            now=lambda: BEGAN + timedelta(seconds=self.passed_s),
            sleep=self.sleep,
            draw=lambda: self.draw,
        )


def a_request(
    item_id: str = "t0", *, task: Task = "ner", text: str | None = None, data: bytes | None = None
) -> Request:
    text = "Ada" if text is None and data is None else text
    return Request(item=Item(id=item_id, media=MEDIA_OF_TASK[task], text=text, data=data), task=task)


def texts(count: int) -> list[Request]:
    return [a_request(f"t{number}") for number in range(count)]
