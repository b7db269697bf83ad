"""Names what the store answers with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from models.types import Annotation, Item, Task
from pipelines.types import Failure, Outcome

RunStatus = Literal["queued", "running", "done", "stopped", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One batch job over a drop, or what a service labels while it is up.

    ``task``, ``source`` and ``fingerprint`` are a drop's: what is done, where its items come from, and what labels
    them, so that a run goes on only with what it began with. ``is_listed`` says whether all its items are known,
    ``is_stopping`` whether somebody wants it to end, ``attempt`` how often it was begun, ``worker`` by whom last.
    ``is_posted`` says whether it came to a service, which works on it; ``progress`` is what that told last of how far
    it is, and ``reason`` why it has failed as a whole.
    """

    id: str
    name: str
    status: RunStatus
    created_at: datetime
    finished_at: datetime | None
    task: Task | None = None
    source: dict[str, str] | None = None
    fingerprint: dict[str, str] | None = None
    is_listed: bool = False
    is_stopping: bool = False
    attempt: int = 0
    worker: str | None = None
    is_posted: bool = False
    progress: dict[str, float] | None = None
    reason: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody works on it, and nobody will without being asked."""
        return self.status not in ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An item of a drop that has no final outcome yet, and its place in the listing.

    ``attempts`` counts how often it was tried, since somebody wanted it tried anew; ``has_failed`` says whether it is
    in the store as failed.
    """

    item: Item
    position: int
    attempts: int
    has_failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFailure:
    """An item that has failed, why, and whether it will be tried again."""

    item_id: str
    uri: str | None
    failure: Failure
    is_retried: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount:
    """How many items of a run have failed with a code, and how many of these will be tried again."""

    code: str
    items: int
    retrying: int


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
