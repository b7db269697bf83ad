"""Counts what the service does, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector

from pipelines.types import Failed, Outcome

Counts = Sequence[Metric]


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

    def counts(self) -> Counts:
        """What this process has counted until now; it can be pickled."""
        return tuple(self._registry.collect())

    async def gather(self) -> Iterable[Counts]:
        """The counts of all processes, where there is only this one."""
        return [self.counts()]


class _Total(Collector):
    """The sum of what several processes counted; counters and histograms alike are sums of samples."""

    def __init__(self, processes: Iterable[Counts]) -> None:
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        totals: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for metric in (metric for counts in self._processes for metric in counts):
            totals.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            samples = values.setdefault(metric.name, {})
            for sample in metric.samples:
                key = sample.name, tuple(sample.labels.items())
                # When a process began to count is no sum: the earliest of them stands for all.
                is_time = sample.name.endswith("_created")
                known = samples.get(key)
                new = sample.value if known is None else min(known, sample.value) if is_time else known + sample.value
                samples[key] = new
        for name, total in totals.items():
            for (sample, labels), value in values[name].items():
                total.add_sample(sample, dict(labels), value)
            yield total


def exposition(processes: Iterable[Counts]) -> Response:
    """What all processes have counted together, as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(_Total(processes))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
