"""Counts what the service does, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from pipelines.types import Failed, Outcome


class Metrics:
    """One process's counters, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._items = Counter(
            "prelabel_items", "Items by task and outcome.", ["task", "outcome"], registry=self._registry
        )
        self._seconds = Histogram(
            "prelabel_request_seconds",
            "Time from a parsed /v1/prelabel call to its outcomes.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self._registry,
        )

    @contextmanager
    def measured(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds.observe(time.perf_counter() - start)

    def count(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            name = outcome.failure.code if isinstance(outcome, Failed) else outcome.decision.route
            self._items.labels(task=outcome.task, outcome=name).inc()

    def exposition(self) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
