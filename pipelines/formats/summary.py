"""Counts what a run came to, task by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.types import Task
from pipelines.formats.results import Result
from pipelines.store.values import TaskCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """How many items of a task ended where.

    labels + nothing_found + failed = items, and accepted + review = items that were decided on.

    Attributes:
        labels: items with at least one label.
        nothing_found: items that the models ran on and found nothing in.
        failed: items without a pre-label.
        accepted: items taken as they are (routes accept and audit).
        review: items that a human corrects or labels anew (routes review and scratch).
        items_per_s: None where nobody measured the time.
    """

    task: Task
    items: int
    labels: int
    nothing_found: int
    failed: int
    accepted: int
    review: int
    items_per_s: float | None


class Counts:
    """Counts the items of one task, one after the other."""

    def __init__(self, task: Task) -> None:
        self._task: Task = task
        self._statuses = Counter[str]()
        self._routes = Counter[str]()

    def add(self, result: Result) -> None:
        self._statuses[result.status] += 1
        if result.decision:
            self._routes[result.decision.route] += 1

    def summary(self, *, seconds: float | None = None) -> TaskSummary:
        return _summary(self._task, self._statuses, self._routes, seconds)


def summarise(results: Iterable[Result], seconds_by_task: Mapping[Task, float]) -> list[TaskSummary]:
    """One summary for each task, in the order in which the tasks first occur; the results are read once."""
    counts: dict[Task, Counts] = {}
    for result in results:
        if result.task not in counts:
            counts[result.task] = Counts(result.task)
        counts[result.task].add(result)
    return [of_task.summary(seconds=seconds_by_task.get(task)) for task, of_task in counts.items()]


def _summary(task: Task, statuses: Counter[str], routes: Counter[str], seconds: float | None) -> TaskSummary:
    return TaskSummary(
        task=task,
        items=statuses.total(),
        labels=statuses["labels"],
        nothing_found=statuses["nothing_found"],
        failed=statuses["failed"],
        accepted=routes["accept"] + routes["audit"],
        review=routes["review"] + routes["scratch"],
        items_per_s=statuses.total() / seconds if seconds else None,
    )


def summary_of(counts: TaskCounts, *, seconds: float | None) -> TaskSummary:
    """The summary of what a run has stored."""
    return TaskSummary(
        task=counts.task,
        items=counts.items,
        labels=counts.labels,
        nothing_found=counts.nothing_found,
        failed=counts.failed,
        accepted=counts.accept + counts.audit,
        review=counts.review + counts.scratch,
        items_per_s=counts.items / seconds if seconds else None,
    )
