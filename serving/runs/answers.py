"""Names what the routes for runs over drops give; the client reads it without the service's libraries."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from models.types import Task
from pipelines.formats.results import Result
from pipelines.remarks import FindingCount, UnmappedCount
from pipelines.store.values import RunStatus

_STATE_EXAMPLE = {
    "id": "3f0c92d1b7aa",
    "name": "incoming",
    "task": "detection",
    "status": "running",
    "is_stopping": False,
    "source": {"drop": "/data/incoming"},
    "created_at": "2026-11-22T09:30:00Z",
    "finished_at": None,
    "attempt": 1,
    "reason": None,
    "listed": 20000,
    "is_listed": True,
    "labels": 7410,
    "nothing_found": 512,
    "failed": 3,
    "accepted": 6120,
    "review": 1802,
    "retrying": 1,
    "finished": 7924,
    "items_per_s": 41.6,
    "eta_s": 290.3,
    "errors": [{"code": "unreadable_image", "items": 2, "retrying": 0}, {"code": "timeout", "items": 1, "retrying": 1}],
}


class RunFacts(BaseModel):
    """A run over a drop.

    ``attempt`` counts how often it was begun: a run goes on where it was when its worker or the service has died.
    ``reason`` says why it has failed as a whole.
    """

    id: str
    name: str
    task: Task
    status: RunStatus
    is_stopping: bool
    source: dict[str, str]
    created_at: datetime
    finished_at: datetime | None
    attempt: int
    reason: str | None


class ErrorTally(BaseModel):
    """How many items have failed with a code, and how many of these will be tried again."""

    code: str
    items: int
    retrying: int


class RunState(RunFacts):
    """A run, how far it is, and what of it has failed.

    ``listed`` is how many items are known by now, all of them once ``is_listed``. ``finished`` is those with an
    outcome: ``labels``, ``nothing_found``, or ``failed`` without what is ``retrying``. ``items_per_s`` and ``eta_s``
    are null when nobody knows.
    """

    listed: int
    is_listed: bool
    labels: int
    nothing_found: int
    failed: int
    accepted: int
    review: int
    retrying: int
    finished: int
    items_per_s: float | None
    eta_s: float | None
    errors: list[ErrorTally]

    model_config = ConfigDict(json_schema_extra={"examples": [_STATE_EXAMPLE]})


class RunList(BaseModel):
    """The runs over drops, newest first."""

    runs: list[RunFacts]


class ResultPage(BaseModel):
    """Results in the order in which they were stored.

    ``next`` is for ``after``; null when there is nothing more by now. While the run goes on, an item that has failed
    may come once more with what became of it later.
    """

    results: list[Result]
    next: str | None


class FailedItem(BaseModel):
    """An item that has failed, why, how often it was tried, and whether it will be tried again."""

    id: str
    uri: str | None
    code: str
    message: str
    attempts: int
    is_retried: bool


class ErrorPage(BaseModel):
    """The items that have failed, by their ids; ``next`` is for ``after``, null at the end."""

    errors: list[FailedItem]
    next: str | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "errors": [
                        {
                            "id": "shelf/0017.jpg",
                            "uri": "/data/incoming/shelf/0017.jpg",
                            "code": "unreadable_image",
                            "message": "the image is cut off: got 1,024 of 48,211 bytes; send it again",
                            "attempts": 1,
                            "is_retried": False,
                        }
                    ],
                    "next": None,
                }
            ]
        }
    )


class RunRemarks(BaseModel):
    """What the sanity rules have found in a run's pre-labels, and the labels that its ontology has no class for.

    Counted over what is stored by now, which takes some seconds for a million items.
    """

    findings: tuple[FindingCount, ...]
    unmapped: tuple[UnmappedCount, ...]


class Redriven(BaseModel):
    """How many items are tried again, and the run, which waits for a worker."""

    items: int
    run: RunState
