"""Names what the store answers with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from models.types import Annotation, Task
from pipelines.types import Outcome

RunStatus = Literal["running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One batch job over a drop, or what a service labels while it is up."""

    id: str
    name: str
    status: RunStatus
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A human's answer to a review task."""

    id: int
    task_id: int
    attempt: int
    reviewer: str
    annotations: tuple[Annotation, ...]
    seconds: float | None
    submitted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOutcome:
    """An item's outcome, its place among the results of its run, and the human's answer where there is one."""

    position: int
    outcome: Outcome
    review: Review | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCounts:
    """How the items of one task in one run came out: items = labels + nothing_found + failed."""

    task: Task
    labels: int = 0
    nothing_found: int = 0
    failed: int = 0
    accept: int = 0
    audit: int = 0
    review: int = 0
    scratch: int = 0

    @property
    def items(self) -> int:
        return self.labels + self.nothing_found + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOverview:
    """How many tasks of a queue are where. A task whose lease has run out counts as pending.

    ``oldest`` is when the longest-waiting pending task was queued; None when nothing waits.
    """

    name: str
    pending: int
    leased: int
    done: int
    dead: int
    oldest: datetime | None
