"""Counts what a run came to, task by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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


def summarise(results: Sequence[Result], seconds_by_task: Mapping[Task, float]) -> list[TaskSummary]:
    """One summary for each task, in the order in which the tasks first occur."""
    of_task: dict[Task, list[Result]] = {}
    for result in results:
        of_task.setdefault(result.task, []).append(result)
    return [_summary(task, among, seconds_by_task.get(task)) for task, among in of_task.items()]


def _summary(task: Task, results: Sequence[Result], seconds: float | None) -> TaskSummary:
    statuses = Counter(result.status for result in results)
    routes = Counter(result.decision.route for result in results if result.decision)
    return TaskSummary(
        task=task,
        items=len(results),
        labels=statuses["labels"],
        nothing_found=statuses["nothing_found"],
        failed=statuses["failed"],
        accepted=routes["accept"] + routes["audit"],
        review=routes["review"] + routes["scratch"],
        items_per_s=len(results) / seconds if seconds else None,
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
