"""Holds items on their way to the accelerator, and says which go next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from models.adapter import Sample
from models.types import PRIORITIES, Content, Payload, Prediction, Priority

_OVERTAKES = 4  # batches of urgent items in a row before bulk items, if any wait, get one
_HOP_BYTES = 32 * 1024  # short texts are prepared several at a time: handing one to a thread costs more than reading it
_HOP_ITEMS = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One item from its arrival to its answer; ``deadline`` is in the engine's clock."""

    content: Content
    priority: Priority
    deadline: float | None
    answer: asyncio.Future[Prediction]
    payload: Payload | None = None
    sample: Sample | None = None

    @property
    def cost(self) -> float:
        """What it takes up in a batch; 0 before it is prepared."""
        return 0.0 if self.sample is None else self.sample.cost

    def is_late(self, now: float) -> bool:
        return self.deadline is not None and self.deadline <= now


@dataclass(slots=True, kw_only=True)
class Lane:
    """What waits with one priority: as it arrived, prepared, or as a part of a batch that failed."""

    arrived: dict[Job, None] = field(default_factory=dict)  # in order, and quick to take one out of
    ready: dict[Job, None] = field(default_factory=dict)
    ready_cost: float = 0.0
    parts: deque[list[Job]] = field(default_factory=deque)
    preparing: int = 0

    @property
    def has_batch(self) -> bool:
        return bool(self.ready or self.parts)

    def has_room(self, *, items: int, cost: float) -> bool:
        """Whether one more item may be prepared: prepared ones are large, an image tensor or a spectrogram."""
        return len(self.ready) + self.preparing < items and self.ready_cost < cost

    def take_arrived(self, *, room: int) -> list[Job]:
        """The next item to prepare, and those behind it as long as they are short."""
        taken, size = list[Job](), 0
        for job in self.arrived:
            size += len(job.content.data)
            if taken and (size > _HOP_BYTES or len(taken) >= min(room, _HOP_ITEMS)):
                break
            taken.append(job)
        for job in taken:
            del self.arrived[job]
        self.preparing += len(taken)
        return taken

    def add_ready(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self.ready[job] = None
            self.ready_cost += job.cost

    def take_batch(self, *, items: int, cost: float) -> list[Job]:
        """The longest run of prepared items, oldest first, within the limits; at least one if any waits.

        A part of a failed batch comes first and stays as it is.
        """
        if self.parts:
            return self.parts.popleft()
        batch, total = list[Job](), 0.0
        for job in self.ready:
            if batch and (len(batch) >= items or total + job.cost > cost):
                break
            batch.append(job)
            total += job.cost
        for job in batch:
            self._remove_ready(job)
        return batch

    def put_back(self, batch: Sequence[Job]) -> None:
        """Take the two halves of a failed batch for the next two batches."""
        middle = len(batch) // 2
        self.parts.extendleft((list(batch[middle:]), list(batch[:middle])))

    def discard(self, job: Job) -> bool:
        """Forget an item that nobody waits for any more; whether that made room to prepare another."""
        self.arrived.pop(job, None)
        if job not in self.ready:
            return False
        self._remove_ready(job)
        return True

    def _remove_ready(self, job: Job) -> None:
        del self.ready[job]
        self.ready_cost = self.ready_cost - job.cost if self.ready else 0.0  # so that rounding does not add up


class Turns:
    """Says whose turn it is: urgent items overtake bulk ones, and bulk ones never starve."""

    def __init__(self) -> None:
        self._overtaken = 0

    def pick(self, lanes: Mapping[Priority, Lane], wants: Callable[[Lane], bool]) -> Lane | None:
        """The lane to serve next of those that want to be served; None if none does."""
        urgent, bulk = (lanes[priority] for priority in PRIORITIES)
        if wants(urgent) and (self._overtaken < _OVERTAKES or not wants(bulk)):
            self._overtaken = self._overtaken + 1 if wants(bulk) else 0
            return urgent
        self._overtaken = 0
        return bulk if wants(bulk) else None
