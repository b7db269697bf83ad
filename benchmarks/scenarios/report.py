"""Holds what a benchmark found, with everything that makes its numbers mean something."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from benchmarks.machine import Machine
from benchmarks.scenarios.figures import LEAST_QUERIES_FOR_P99, Slice, cost_per_1000
from benchmarks.scenarios.target import MeasuredModel, Work
from models.errors import PrelabelError
from models.types import Task

Scenario = Literal["single-stream", "server", "offline"]
FORMAT = "prelabel-bench/1"

_LATE, _SENDER_BUSY = 0.1, 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over the repetitions."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """All repetitions under one condition: an offered load (server), a batch limit (offline), or the only one.

    Attributes:
        rate_per_s: how many queries were due a second.
        batch_limit: the most items in a batch, where several limits were measured.
        latency_p99_s: over the answered queries of all repetitions, where there are 10,000 or more.
        in_time_low: lower end of the 95 % interval of the share answered within the deadline, over all repetitions.
        work: what each model did in all repetitions together.
        own_cpu_s: processor seconds of the measuring process, which holds the engine, or only sends to a service.
    """

    rate_per_s: float | None
    batch_limit: int | None
    slices: tuple[Slice, ...]
    latency_p99_s: float | None
    in_time_low: float | None
    work: dict[str, Work]
    own_cpu_s: float

    @property
    def queries(self) -> int:
        return sum(part.queries for part in self.slices)

    @property
    def duration_s(self) -> float:
        return sum(part.duration_s for part in self.slices)

    @property
    def shed(self) -> int:
        return sum(part.shed for part in self.slices)

    @property
    def failed(self) -> dict[str, int]:
        """How many queries failed with each code."""
        codes = sorted({code for part in self.slices for code in part.failed})
        return {code: sum(part.failed.get(code, 0) for part in self.slices) for code in codes}

    def spread(self, figure: str) -> Spread | None:
        """One of a slice's figures over the repetitions; None where a repetition lacks it."""
        values = [getattr(part, figure) for part in self.slices]
        if any(value is None for value in values):
            return None
        return Spread(median=statistics.median(values), low=min(values), high=max(values))

    def cost_per_1000(self, price_per_hour: float | None) -> float | None:
        rate = self.spread("items_per_s")
        return None if price_per_hour is None or rate is None else cost_per_1000(price_per_hour, rate.median)

    @property
    def name(self) -> str:
        if self.rate_per_s is not None:
            return f"{self.rate_per_s:.3g}/s"
        return "" if self.batch_limit is None else f"batches ≤ {self.batch_limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts:
    """What was sent."""

    what: str
    files: int
    mean_bytes: int
    digest: str
    left_out: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How it was measured; ``at_once`` bounds the open queries outside of the server scenario."""

    repeats: int
    warm_up_items: int
    at_once: int
    compute_threads: int | None
    seed: int
    deadline_s: float | None
    price_per_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One benchmark run; ``notes`` say in words what a reader must know before using its numbers."""

    format: Literal["prelabel-bench/1"] = FORMAT
    measured_at: str
    scenario: Scenario
    target: str
    task: Task
    models: tuple[MeasuredModel, ...]
    inputs: InputFacts
    setup: Setup
    machine: Machine
    load_average_at_end: float
    peak_items_per_s: float | None
    points: tuple[Point, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        models = " → ".join(f"{model.name}@{model.version}" for model in self.models)
        return f"{self.scenario} · {self.task} · {models} · {self.target}"

    @property
    def hardware(self) -> str:
        machine = self.machine
        name = machine.accelerator or f"{machine.cpu}, {machine.cores} cores"
        threads = self.setup.compute_threads
        return name if threads is None else f"{name}, {threads} compute thread{'s' if threads > 1 else ''}"

    @property
    def sample_size(self) -> str:
        counts = sorted({part.queries for point in self.points for part in point.slices})
        n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        return f"n = {self.setup.repeats} × {n} items"

    def json(self) -> bytes:
        return REPORT.dump_json(self, indent=1)


REPORT = TypeAdapter(Report)


def read(file: Path) -> Report:
    """A report as it was written.

    Raises:
        PrelabelError: bad_report, where the file is none.
    """
    try:
        return REPORT.validate_json(file.read_bytes())
    except (OSError, ValidationError) as err:
        reason = f"{err.error_count()} fields do not fit" if isinstance(err, ValidationError) else str(err)
        message = f"{file} is no report of this version's 'prelabel bench': {reason}"
        raise PrelabelError("bad_report", message) from err


def notes_on(report: Report) -> tuple[str, ...]:
    """What follows from a report's own numbers and must be said beside them."""
    found = list[str]()
    if report.scenario != "offline" and any(point.latency_p99_s is None for point in report.points):
        found.append(f"no p99: it needs {LEAST_QUERIES_FOR_P99:,} answered queries under one condition")
    if late := [point.name or "the run" for point in report.points if _is_late(report, point)]:
        found.append(
            f"at {', '.join(late)} the load generator itself was late by more than a tenth of the median latency; "
            "latencies count that"
        )
    if report.target.startswith("service"):
        found += [
            f"at {point.name or 'this rate'} the load generator used {point.own_cpu_s / point.duration_s:.0%} of a "
            "processor and may itself be the limit"
            for point in report.points
            if point.own_cpu_s > _SENDER_BUSY * point.duration_s
        ]
    if " at " in report.target:
        found.append("hardware and versions are those of the load generator; the service may run elsewhere")
    if max(report.machine.load_average_1min, report.load_average_at_end) > report.machine.cores:
        found.append("the machine had more work than processors; measure again on a quiet one")
    if report.inputs.left_out:
        names = ", ".join(f"{name} ({code})" for name, code in list(report.inputs.left_out.items())[:4])
        names += f" and {len(report.inputs.left_out) - 4} more" if len(report.inputs.left_out) > 4 else ""
        found.append(f"left out, because they cannot be decoded: {names}")
    if any(model.weights_digest == "random" for model in report.models):
        found.append("random weights: the speed is real, the labels mean nothing, and so may do their number")
    if not all(part.answered for point in report.points for part in point.slices):
        found.append("a repetition answered nothing: its latencies do not exist")
    return tuple(found)


def _is_late(report: Report, point: Point) -> bool:
    """Whether the sender, who has to keep a schedule in the server scenario only, was late."""
    if report.scenario != "server":
        return False
    latency, lag = point.spread("latency_p50_s"), point.spread("lag_p95_s")
    return latency is not None and lag is not None and lag.median > _LATE * latency.median
