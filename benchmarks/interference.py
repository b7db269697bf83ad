"""Measures how much a bulk client that saturates a model delays somebody who waits for one item."""

from __future__ import annotations

import base64
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from rich.table import Table

from benchmarks import service
from benchmarks.judgement import Judgement, Report
from benchmarks.load import Answers, Load, send
from benchmarks.open_loop import Counted, Plan, sending
from benchmarks.ratios.service_over_bare import configuration, recordings
from benchmarks.scenarios.figures import percentile
from models.types import PRIORITIES, Priority

ROUNDS = 5
LEAST_ITEM_MS = 30.0

_CALLS_PER_S, _PHASE_S, _CONNECTIONS = 1.5, 10.0, 16
_BULK_ITEMS, _BULK_CALLS = 16, 4  # a batch of the card, and four of them in work: the model never waits for the client
_SATURATED_S = 2.0
_DEADLINE_S, _PATIENCE_S = 60.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stretch of single calls, and what the engine and the bulk client did meanwhile; batch_ms is their mean."""

    latencies_ms: list[float]
    batch_ms: float
    batch_sizes: dict[str, int]
    bulk_items_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """Rounds of three phases each: alone, beside a bulk client, and beside the same client sent as interactive."""

    idle: list[Phase]
    busy: list[Phase]
    control: list[Phase]


def measure(*, rounds: int = ROUNDS, progress: Callable[[str], None]) -> Interference:
    """Measure every phase in each round, in an order that changes from round to round.

    Raises:
        RuntimeError: an item takes less than 30 ms, or a call failed; such a measurement says nothing.
    """
    phases: dict[Priority | None, list[Phase]] = {None: [], "bulk": [], "interactive": []}
    contents = recordings(256)
    with service.running(configuration()) as address:
        caller = _Caller(address, [_body([content.data]) for content in contents])
        bulk = {priority: _bulk(address, [content.data for content in contents], priority) for priority in PRIORITIES}
        caller.phase(None)  # warms up
        for number in range(rounds):
            order = list(phases)
            for beside in (*order[number % 3 :], *order[: number % 3]):
                phase = caller.phase(bulk[beside] if beside else None)
                phases[beside].append(phase)
                p50_ms, p95_ms = statistics.median(phase.latencies_ms), percentile(phase.latencies_ms, 95)
                progress(f"round {number + 1}, beside {beside or 'nobody'}: p50 {p50_ms:.0f} ms, p95 {p95_ms:.0f} ms")
    return checked(Interference(idle=phases[None], busy=phases["bulk"], control=phases["interactive"]))


def _body(files: Sequence[bytes], priority: Priority = "interactive") -> str:
    items = [
        {"id": str(number), "task": "speech", "data": base64.b64encode(data).decode()}
        for number, data in enumerate(files)
    ]
    return json.dumps({"items": items, "priority": priority})


def _bulk(address: str, files: Sequence[bytes], priority: Priority) -> Load:
    """Calls of 16 recordings, four at a time, until the single calls are done."""
    calls = [files[first : first + _BULK_ITEMS] for first in range(0, len(files), _BULK_ITEMS)]
    return Load(
        address=address,
        path="/v1/prelabel",
        connections=_BULK_CALLS,
        bodies=tuple(_body(call, priority) for call in calls),
        seconds=_SATURATED_S + _PHASE_S + 1.0,
        refused='"status":"failed"',
    )


class _Caller:
    """Sends single items at equal distances, however long they take, and asks the engine what it did meanwhile."""

    def __init__(self, address: str, bodies: Sequence[str]) -> None:
        self._address = address
        self._plan = Plan(
            address=address,
            path="/v1/prelabel",
            requests=tuple(("speech", body) for body in bodies),
            rate_per_s=_CALLS_PER_S,
            seconds=_PHASE_S,
            connections=_CONNECTIONS,
            deadline_s=_DEADLINE_S,
            patience_s=_PATIENCE_S,
        )

    def phase(self, bulk: Load | None) -> Phase:
        with ThreadPoolExecutor(1) as beside:
            answers = beside.submit(send, bulk) if bulk else None
            if answers:
                time.sleep(_SATURATED_S)
            before = self._engine()
            with sending(self._plan) as calls:
                counted = calls.counted()
            after = self._engine()
            return _phase(counted, before, after, answers.result() if answers else None)

    def _engine(self) -> Mapping[str, Any]:
        answer = httpx.get(f"{self._address}/v1/models", timeout=_PATIENCE_S, trust_env=False).raise_for_status()
        return answer.json()["models"][0]["engine"]


def _phase(counted: Counted, before: Mapping[str, Any], after: Mapping[str, Any], bulk: Answers | None) -> Phase:
    if counted.good < counted.scheduled:
        raise RuntimeError(f"of {counted.scheduled} single calls only {counted.good} got a result: {counted.outcomes}")
    batches = {
        size: n - before["batch_sizes"].get(size, 0)
        for size, n in after["batch_sizes"].items()
        if n > before["batch_sizes"].get(size, 0)
    }
    return Phase(
        latencies_ms=counted.latencies_ms,
        batch_ms=1e3 * (after["forward_s"] - before["forward_s"]) / max(sum(batches.values()), 1),
        batch_sizes=batches,
        bulk_items_per_s=_BULK_ITEMS * bulk.per_s if bulk else 0.0,
    )


def checked(interference: Interference) -> Interference:
    """Refuse to judge on items that cost nothing."""
    if (item_ms := _latency_ms(interference.idle, 50)) < LEAST_ITEM_MS:
        raise RuntimeError(
            f"an item takes {item_ms:.0f} ms alone; this comparison is for {LEAST_ITEM_MS:.0f} ms and more"
        )
    return interference


def judge(interference: Interference) -> list[Judgement]:
    """Whether a bulk client costs others at most one batch, and still gets on."""
    batch_ms = statistics.median(phase.batch_ms for phase in interference.busy)
    bar_ms = 2 * _latency_ms(interference.idle, 95) + batch_ms
    bulk_per_s = min(phase.bulk_items_per_s for phase in interference.busy)
    return [
        Judgement(
            what="p95 beside bulk: 2 × idle p95 + one batch",
            value=_latency_ms(interference.busy, 95),
            bar=bar_ms,
            direction="at_most",
            unit="ms",
        ),
        Judgement(what="bulk gets on (slowest round)", value=bulk_per_s, bar=0.0, direction="above", unit="items/s"),
    ]


def _latency_ms(phases: Sequence[Phase], q: float) -> float:
    """A percentile over the calls of all rounds."""
    return percentile([latency_ms for phase in phases for latency_ms in phase.latencies_ms], q) or 0.0


def report(interference: Interference) -> Report:
    """What is judged, with all figures and their table."""
    return Report(judgements=judge(interference), figures=figures(interference), tables=[_table(interference)])


def figures(interference: Interference) -> dict[str, Any]:
    """All figures, ready for ``json.dumps``."""
    return {
        "rounds": len(interference.idle),
        "calls_per_phase": len(interference.idle[0].latencies_ms),
        "bulk": f"{_BULK_CALLS} calls of {_BULK_ITEMS} items at a time, closed loop",
        **{name: _summary(phases) for name, phases in _named(interference).items()},
        "phases": asdict(interference),
    }


def _named(interference: Interference) -> dict[str, list[Phase]]:
    return {
        "idle": interference.idle,
        "beside_bulk": interference.busy,
        "beside_bulk_sent_as_interactive": interference.control,
    }


def _summary(phases: Sequence[Phase]) -> dict[str, float]:
    return {
        "p50_ms": round(_latency_ms(phases, 50), 1),
        "p95_ms": round(_latency_ms(phases, 95), 1),
        "batch_ms": round(statistics.median(phase.batch_ms for phase in phases), 1),
        "bulk_items_per_s": round(statistics.median(phase.bulk_items_per_s for phase in phases), 1),
    }


def _table(interference: Interference) -> Table:
    grid = Table(title="single calls", title_justify="left")
    for column in ("beside", "p50, ms", "p95, ms", "mean batch, ms", "bulk items/s"):
        grid.add_column(column, justify="left" if column == "beside" else "right")
    for name, phases in _named(interference).items():
        grid.add_row(name.replace("_", " "), *(str(value) for value in _summary(phases).values()))
    return grid
