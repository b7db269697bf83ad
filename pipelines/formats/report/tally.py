"""Gathers what the page shows of a run: in one pass over its items, and in memory that does not grow with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import heappush, heappushpop

from models.types import Task
from pipelines.formats.report.card import Entry, route
from pipelines.formats.report.histogram import Scores
from pipelines.formats.results import Result
from pipelines.formats.summary import Counts
from pipelines.types import Provenance

MAX_CARDS = 200


class TaskTally:
    """What is gathered of one task: numbers of all its items, and those to show of the ones that worked."""

    def __init__(self, task: Task) -> None:
        self.counts = Counts(task)
        self.scores = Scores()
        self.policies = set[str]()
        self.calibrations = set[str]()
        self.worked = 0
        self._heap = list[tuple[tuple[float, float], int, Entry]]()  # the one to give up next comes first

    def add(self, entry: Entry) -> None:
        result = entry.result
        self.counts.add(result)
        if result.status == "failed":
            return
        self.scores.add(result)
        if result.provenance and result.provenance.policy_id:
            self.policies.add(result.provenance.policy_id)
        if result.provenance and result.provenance.calibration_id:
            self.calibrations.add(result.provenance.calibration_id)
        self._rank(entry)
        self.worked += 1

    @property
    def most_uncertain(self) -> list[Entry]:
        """At most MAX_CARDS, the most uncertain first; between equal ones, the one that came first."""
        return [entry for *_, entry in sorted(self._heap, key=lambda ranked: ranked[:2], reverse=True)]

    def _rank(self, entry: Entry) -> None:
        ranked = (_doubt(entry.result), -self.worked, entry)
        if len(self._heap) < MAX_CARDS:
            heappush(self._heap, ranked)
        else:
            heappushpop(self._heap, ranked)


class Tally:
    """What is gathered of a run.

    Attributes:
        tasks: in the order in which they first occur, as the models and the routes are.
        failed: the first MAX_CARDS items without a pre-label.
        failures: how many there are of each code.
        models: the tasks of every model that ran; models as ``name@version:digest``.
        latest: when the last pre-label was made.
    """

    def __init__(self) -> None:
        self.tasks: dict[Task, TaskTally] = {}
        self.failed = list[Entry]()
        self.failed_items = 0
        self.failures = Counter[str]()
        self.models: dict[str, dict[Task, None]] = {}
        self.routes: dict[str, None] = {}
        self.latest: datetime | None = None

    def add(self, entry: Entry) -> None:
        result = entry.result
        if result.task not in self.tasks:
            self.tasks[result.task] = TaskTally(result.task)
        self.tasks[result.task].add(entry)
        self.routes[route(result)] = None
        if result.status == "failed":
            self._add_failed(entry)
        if result.provenance:
            self._add_origin(result.task, result.provenance)

    def shown(self) -> Iterator[Entry]:
        """Every item that gets a card."""
        for of_task in self.tasks.values():
            yield from of_task.most_uncertain
        yield from self.failed

    def _add_failed(self, entry: Entry) -> None:
        self.failed_items += 1
        if entry.result.error:
            self.failures[entry.result.error.code] += 1
        if len(self.failed) < MAX_CARDS:
            self.failed.append(entry)

    def _add_origin(self, task: Task, provenance: Provenance) -> None:
        for model in _chain(provenance):
            self.models.setdefault(model, {})[task] = None
        if self.latest is None or provenance.created_at >= self.latest:
            self.latest = provenance.created_at


def tally(entries: Iterable[Entry]) -> Tally:
    """What the page shows of these items."""
    gathered = Tally()
    for entry in entries:
        gathered.add(entry)
    return gathered


def item_uncertainty(result: Result) -> float:
    """The highest entry of the item's uncertainty vector; 1.0, no idea, where there is none."""
    return max(result.uncertainty.values(), default=1.0)


def _doubt(result: Result) -> tuple[float, float]:
    """What cards are sorted by; between equal items the mean of the vector decides."""
    values = result.uncertainty.values()
    return item_uncertainty(result), sum(values) / len(values) if values else 1.0


def _chain(provenance: Provenance) -> tuple[str, ...]:
    alone = f"{provenance.model}@{provenance.model_version}:{provenance.weights_digest[:12]}"
    return provenance.chain or (alone,)
