"""Builds what the tests of the benchmarks share: a loop whose time is virtual, servers that stall, queries, reports."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from benchmarks.machine import Machine
from benchmarks.scenarios.figures import slice_of
from benchmarks.scenarios.load import Query
from benchmarks.scenarios.report import InputFacts, Point, Report, Setup
from benchmarks.scenarios.target import MeasuredModel, Work
from models.errors import ItemError, OverloadedError
from models.types import Content

T = TypeVar("T")


class _Waitless(selectors.DefaultSelector):
    """Never waits: what would have been waited for is given to the clock."""

    advance: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.advance(timeout or 0.0)
        return super().select(0)


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop in which time passes only while everybody sleeps, so that a test of time takes none and never varies."""

    def __init__(self) -> None:
        selector = _Waitless()
        selector.advance = self._advance
        self._now_s = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self._now_s

    def _advance(self, seconds: float) -> None:
        self._now_s += seconds


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(coroutine)


class FakeServer:
    """Answers one item at a time, each in ``service_s``; some numbers fail, are shed, or stall for longer."""

    models: tuple[MeasuredModel, ...] = ()

    def __init__(
        self,
        *,
        service_s: float,
        stalls_s: dict[int, float] | None = None,
        failing: Sequence[int] = (),
        shed: Sequence[int] = (),
    ) -> None:
        self.at_once = 8
        self.asked = list[bytes]()
        self.stalls = 0
        self._service_s, self._stalls_s, self._failing, self._shed = service_s, stalls_s or {}, failing, shed
        self._turn = asyncio.Lock()

    async def label(self, content: Content) -> None:
        number = len(self.asked)
        self.asked.append(content.data)
        if number in self._shed:
            raise OverloadedError
        async with self._turn:
            self.stalls += number in self._stalls_s
            await asyncio.sleep(self._stalls_s.get(number, self._service_s))
        if number in self._failing:
            raise ItemError("unreadable_image", "the item cannot be read")

    def work(self) -> dict[str, Work]:
        return {"fake": Work(batch_sizes={1: len(self.asked)})}


class Numbers:
    """Items that are their own number."""

    mean_bytes = 8

    def __init__(self) -> None:
        self._next = 0

    def take(self, n: int) -> list[Content]:
        first, self._next = self._next, self._next + n
        return [Content(media="text", data=str(number).encode()) for number in range(first, self._next)]


class Nobody:
    """Watches nothing."""

    def begin(self, what: str, total: int) -> Callable[[], None]:
        return lambda: None


def queries_of(latencies_s: Sequence[float], *, every_s: float = 1.0) -> list[Query]:
    """Answered queries that were due and sent one after the other."""
    due = [every_s * number for number in range(len(latencies_s))]
    return [Query(scheduled_s=at, sent_s=at, done_s=at + latency) for at, latency in zip(due, latencies_s, strict=True)]


def a_report(items_per_s: Sequence[float], **changes: Any) -> Report:
    """An offline report whose repetitions ran at these rates."""
    part = slice_of(queries_of([0.1] * 10), deadline_s=None)
    point = Point(
        rate_per_s=None,
        batch_limit=None,
        slices=tuple(replace(part, items_per_s=rate) for rate in items_per_s),
        latency_p99_s=None,
        in_time_low=None,
        work={"m": Work(batch_sizes={4: 2, 2: 1}, busy_s={"prepare": 0.1, "forward": 0.5, "read": 0.1})},
        own_cpu_s=0.6 * len(items_per_s) * part.duration_s,
    )
    model = MeasuredModel(
        name="m",
        version="1",
        task="ner",
        adapter="token_classification",
        precision="fp32",
        weights_digest="ab" * 32,
        config_digest="cd" * 32,
        max_items=4,
    )
    report = Report(
        measured_at="2026-01-01T00:00:00Z",
        scenario="offline",
        target="engine",
        task="ner",
        models=(model,),
        inputs=InputFacts(what="ten texts", files=10, mean_bytes=100, digest="ef" * 32, left_out={}),
        setup=Setup(
            repeats=len(items_per_s),
            warm_up_items=16,
            at_once=8,
            compute_threads=1,
            seed=0,
            deadline_s=None,
            price_per_hour=None,
        ),
        machine=a_machine(),
        load_average_at_end=0.5,
        peak_items_per_s=None,
        points=(point,),
    )
    return replace(report, **changes)


def a_machine(*, cpu: str = "Example CPU", torch: str = "2.11.0") -> Machine:
    return Machine(
        cpu=cpu,
        cores=4,
        memory_gib=16.0,
        accelerator=None,
        python="3.12.0",
        libraries={"torch": torch},
        load_average_1min=0.5,
    )
