"""Names what the routes for runs over drops take and give."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from models.types import Task
from pipelines.formats.results import Result
from pipelines.remarks import FindingCount, UnmappedCount
from pipelines.store.values import RunStatus
from serving.body import Body

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


class RunBody(Body):
    """A drop to label.

    ``drop`` is what the service itself can open: a path or a pattern of paths within its ``fetch.roots``, or an address
    within its ``fetch.allowed_buckets``. ``kind`` says what the drop is where its name does not: folder, glob,
    manifest, bucket, web_dataset, label_studio, coco. ``run`` makes the call repeatable: the same id with the same body
    begins nothing anew.
    """

    drop: str = Field(min_length=1, max_length=4_096)
    task: Task
    kind: str | None = Field(default=None, max_length=32)
    run: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"drop": "/data/incoming", "task": "detection"},
                {"drop": "s3://drops/2026-11/manifest.jsonl", "task": "ner", "run": "november"},
            ]
        }
    )


class RedriveBody(Body):
    """The codes of the failures that are tried again; none lets the run go on with what is pending."""

    codes: list[str] = Field(max_length=100)

    model_config = ConfigDict(json_schema_extra={"examples": [{"codes": ["timeout", "fetch_failed"]}]})


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
