"""Names every call that a client can make: its path, its body, and the type of its answer."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, create_model

from models.types import PRIORITIES, Annotation, Item, Priority, Prompts, Task
from pipelines.errors import InvalidRequestError
from pipelines.formats.results import Result
from pipelines.sampling import Strategy
from pipelines.store.values import QueueOverview
from serving.client.batch import Batch
from serving.client.call import Call
from serving.client.claimed import ClaimedTask
from serving.deployed_model import DeployedModel
from serving.runs.answers import ErrorPage, FailedItem, Redriven, ResultPage, RunFacts, RunRemarks, RunState
from serving.samples.answer import SampleAnswer

T = TypeVar("T")

_RUN, _LONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), re.compile("[\ud800-\udfff]")
_PROMPTS, _ANNOTATIONS = TypeAdapter(Prompts), TypeAdapter(tuple[Annotation, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How items are labelled: ``labels`` keeps only these, the ``run`` stores each of them once."""

    run: str
    labels: Sequence[str] = ()
    priority: Priority = "interactive"
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        """Look whether the service could take them, since what it refuses later counts as the items' own fault.

        Raises:
            InvalidRequestError: invalid_request.
        """
        if not _RUN.fullmatch(self.run):
            raise _invalid(f"run is {self.run!r}; give up to 64 letters, digits, '.', '_' and '-', no sign first")
        if isinstance(self.labels, str) or not all(isinstance(label, str) for label in self.labels):
            raise _invalid(f"labels are {self.labels!r}; give a list of names")
        if _LONE.search("".join(self.labels)):
            raise _invalid("a label holds half of a surrogate pair, which is no text")
        if self.priority not in PRIORITIES:
            raise _invalid(f"priority is {self.priority!r}; give one of {', '.join(PRIORITIES)}")
        if self.deadline_s is not None and not 0 < self.deadline_s < math.inf:
            raise _invalid(f"deadline_s is {self.deadline_s}; give seconds above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A part of a long answer; ``next`` is where the following one begins, None at the end."""

    entries: Sequence[T]
    next: str | None


Pages: TypeAlias = Callable[[str | None], Call[Page[T]]]  # the page that begins there; None is the first


def new_id() -> str:
    """An id that makes a call repeatable: the service does once what comes with the same id twice."""
    return uuid.uuid4().hex


def pre_label(batch: Batch, terms: Terms) -> Call[list[Result]]:
    """Label items; their bytes travel as the parts of a form. The run makes the call repeatable."""
    items = list[Mapping[str, object]]()
    parts = dict[str, bytes]()
    for number, request in enumerate(batch):
        item = request.item
        if item.data is not None:
            parts[str(number)] = item.data
        items.append({"id": item.id, "task": request.task, **_content(item, part=str(number)), **_asked(item)})
    body = {"items": items, "labels": list(terms.labels), "priority": terms.priority, "run": terms.run}
    return Call(
        method="POST",
        path="/v1/prelabel",
        read=_reads(list[Result], key="results"),
        body=body,
        parts=parts,
        says_deadline=True,
        deadline_s=terms.deadline_s,
    )


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError("invalid_request", message)


def _content(item: Item, *, part: str) -> Mapping[str, object]:
    given = {"uri": item.uri, "text": item.text, "part": None if item.data is None else part}
    return {name: value for name, value in given.items() if value is not None}


def _asked(item: Item) -> Mapping[str, object]:
    asked = {"meta": item.meta} if item.meta else {}
    return asked if item.prompts == Prompts() else asked | {"prompts": _PROMPTS.dump_python(item.prompts, mode="json")}


def health() -> Call[None]:
    """Whether every model and the store answer; an error if not."""
    return Call(method="GET", path="/readyz", read=lambda _: None)


def models() -> Call[list[DeployedModel]]:
    """The deployed models, down to the digests of their bytes, and how they do."""
    return Call(method="GET", path="/v1/models", read=_reads(list[DeployedModel], key="models"))


def queues() -> Call[list[QueueOverview]]:
    """Every queue with its counts."""
    return Call(method="GET", path="/v1/queues", read=_reads(list[QueueOverview], key="queues"))


def claim(queue: str, *, reviewer: str, n: int = 1, lease_s: float = 600.0) -> Call[list[ClaimedTask]]:
    """Lease the most urgent tasks of a queue; none left gives an empty list.

    An answer that was lost is not asked for again: what it has leased comes back when the lease has run out.
    """
    return Call(
        method="POST",
        path=f"/v1/queues/{_quoted(queue)}/claim",
        read=_reads(list[ClaimedTask], key="tasks"),
        body={"reviewer": reviewer, "n": n, "lease_s": lease_s},
        is_repeatable=False,
    )


def content(task_id: int) -> Call[bytes]:
    """The bytes of an item that was sent as data."""
    return Call(method="GET", path=f"/v1/reviews/{task_id}/content", read=bytes)


def heartbeat(task_id: int, *, reviewer: str, attempt: int, lease_s: float = 600.0) -> Call[None]:
    """Keep a lease; ConflictError when it has run out."""
    body = {"reviewer": reviewer, "attempt": attempt, "lease_s": lease_s}
    return Call(method="POST", path=f"/v1/reviews/{task_id}/heartbeat", read=lambda _: None, body=body)


def release(task_id: int, *, reviewer: str, attempt: int) -> Call[None]:
    """Give a task back unanswered."""
    body = {"reviewer": reviewer, "attempt": attempt}
    path = f"/v1/reviews/{task_id}/release"
    # Repeated after an answer that was lost, it would say that the lease is gone.
    return Call(method="POST", path=path, read=lambda _: None, body=body, is_repeatable=False)


def submit(
    task_id: int,
    annotations: Iterable[Annotation],
    *,
    reviewer: str,
    attempt: int,
    seconds: float | None = None,
    idempotency_key: str | None = None,
) -> Call[None]:
    """Answer a task; ConflictError when the lease has run out. Without a key of its own, a call has a random one."""
    body = {
        "reviewer": reviewer,
        "attempt": attempt,
        "annotations": _ANNOTATIONS.dump_python(tuple(annotations), mode="json"),
        "seconds": seconds,
        "idempotency_key": idempotency_key or new_id(),
    }
    return Call(method="POST", path=f"/v1/reviews/{task_id}/submit", read=lambda _: None, body=body)


def post_run(drop: str, *, task: Task, kind: str | None = None, run: str | None = None) -> Call[RunState]:
    """Let the service label a drop that it can open itself; see ``POST /v1/runs``."""
    body = {"drop": drop, "task": task, "kind": kind, "run": run or new_id()}
    return Call(method="POST", path="/v1/runs", read=_reads(RunState), body=body)


def runs(*, limit: int = 100) -> Call[list[RunFacts]]:
    """The newest runs over drops."""
    return Call(method="GET", path="/v1/runs", read=_reads(list[RunFacts], key="runs"), query={"limit": limit})


def run(run_id: str) -> Call[RunState]:
    """How far a run is."""
    return Call(method="GET", path=f"/v1/runs/{_quoted(run_id)}", read=_reads(RunState))


def stop(run_id: str) -> Call[RunState]:
    """End a run within the batches in flight; what is done is kept."""
    return Call(method="DELETE", path=f"/v1/runs/{_quoted(run_id)}", read=_reads(RunState))


def remarks(run_id: str) -> Call[RunRemarks]:
    """What the sanity rules have found in a run's pre-labels, and the labels that mean no class of the ontology."""
    return Call(method="GET", path=f"/v1/runs/{_quoted(run_id)}/remarks", read=_reads(RunRemarks))


def redrive(run_id: str, codes: Iterable[str]) -> Call[Redriven]:
    """Let a run that is over go on: with what is pending, and with the items that have failed with these codes."""
    path, body = f"/v1/runs/{_quoted(run_id)}/redrive", {"codes": list(codes)}
    # Repeated after an answer that was lost, it would say that the run is not over.
    return Call(method="POST", path=path, read=_reads(Redriven), body=body, is_repeatable=False)


def results(run_id: str) -> Pages[Result]:
    """A run's results, as far as they are stored by now, in the order in which they were."""

    def read(content: bytes) -> Page[Result]:
        page = _adapter(ResultPage, None).validate_json(content)
        return Page(entries=page.results, next=page.next)

    path = f"/v1/runs/{_quoted(run_id)}/results"
    return lambda after: Call(method="GET", path=path, read=read, query=_query(after, limit=100))


def errors(run_id: str, *, code: str | None = None) -> Pages[FailedItem]:
    """The items of a run that have failed, and why; only those with a code, if one is given."""

    def read(content: bytes) -> Page[FailedItem]:
        page = _adapter(ErrorPage, None).validate_json(content)
        return Page(entries=page.errors, next=page.next)

    own: dict[str, str | int] = {"code": code} if code else {}
    path = f"/v1/runs/{_quoted(run_id)}/errors"
    return lambda after: Call(method="GET", path=path, read=read, query=own | _query(after, limit=1_000))


def samples(
    budget: int,
    *,
    run: str | None = None,
    task: Task | None = None,
    strategy: Strategy = "hybrid",
    explore: float | None = None,
    group_by: str | None = None,
    quotas: Mapping[str, int] | None = None,
    radius: float | None = None,
    most_cost: float | None = None,
    seed: int | None = None,
    queue: str | None = None,
    sample: str | None = None,
    dry_run: bool = False,
) -> Call[SampleAnswer]:
    """Choose which items a human should label next, and queue their reviews; see ``POST /v1/samples``."""
    asked: Mapping[str, object] = {
        "run": run,
        "task": task,
        "strategy": strategy,
        "explore": explore,
        "group_by": group_by,
        "quotas": quotas,
        "radius": radius,
        "most_cost": most_cost,
        "seed": seed,
        "queue": queue,
        "dry_run": dry_run,
    }
    body = {"sample": sample or new_id(), "budget": budget} | {k: v for k, v in asked.items() if v is not None}
    return Call(method="POST", path="/v1/samples", read=_reads(SampleAnswer), body=body)


def sample(sample_id: str) -> Call[SampleAnswer]:
    """What was chosen, from what, and why."""
    return Call(method="GET", path=f"/v1/samples/{_quoted(sample_id)}", read=_reads(SampleAnswer))


def _reads(kind: type[T], *, key: str | None = None) -> Callable[[bytes], T]:
    """What reads a value of a type from JSON, or from what stands under a key of it."""
    if key is None:
        return lambda content: _adapter(kind, None).validate_json(content)
    return lambda content: getattr(_adapter(kind, key).validate_json(content), key)


@cache  # to build one takes longer than to read with it
def _adapter(kind: type[Any], key: str | None) -> TypeAdapter[Any]:
    if key is None:
        return TypeAdapter(kind)
    fields: Any = {key: (kind, ...)}
    return TypeAdapter(create_model("Answer", **fields))


def _query(after: str | None, *, limit: int) -> dict[str, str | int]:
    return {"limit": limit} | ({"after": after} if after else {})


def _quoted(part: str) -> str:
    return quote(part, safe="")
