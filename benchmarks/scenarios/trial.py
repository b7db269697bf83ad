"""Runs a scenario against a target: warm-up, peak, then every condition in turn, repetition after repetition."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

import numpy as np

from benchmarks.scenarios import load
from benchmarks.scenarios.arrivals import poisson
from benchmarks.scenarios.figures import p99, share_low, slice_of
from benchmarks.scenarios.load import Query
from benchmarks.scenarios.report import Point, Scenario
from benchmarks.scenarios.target import Target, Work
from models.errors import PrelabelError
from models.types import Content

PEAK_SHARES = (0.5, 0.8, 0.95)
IN_TIME = 0.99

_LEAST_ITEMS = 10
_MOST_BYTES = 2**30
_HALVINGS = 6


class Supply(Protocol):
    """Where items come from; no two are equal."""

    @property
    def mean_bytes(self) -> int: ...

    def take(self, n: int) -> Sequence[Content]: ...


class Watcher(Protocol):
    """Who is told what is going on."""

    def begin(self, what: str, total: int) -> Callable[[], None]:
        """A phase of so many items begins; what is returned is called for each that is done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What shall be measured.

    Attributes:
        items: items of one repetition; None takes as many as ``duration_s`` holds at the rate seen while warming up.
        rates_per_s: offered loads of the server scenario; empty takes shares of the measured peak.
        finds_max_rate: look for the highest load at which 99 % are answered in time, and measure it too.
        warm_up_items: sent twice before anything counts: once to warm up, once to see the rate.
    """

    scenario: Scenario
    repeats: int
    items: int | None
    duration_s: float
    rates_per_s: tuple[float, ...] = ()
    deadline_s: float | None = None
    finds_max_rate: bool = False
    warm_up_items: int = 16
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing to measure: a target at an offered load, or as it is."""

    target: Target
    rate_per_s: float | None = None
    batch_limit: int | None = None
    items: int

    @property
    def name(self) -> str:
        if self.rate_per_s is not None:
            return f"{self.rate_per_s:.3g}/s"
        return "all" if self.batch_limit is None else f"batches ≤ {self.batch_limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The points of a trial, and the peak that the server scenario measured first."""

    points: tuple[Point, ...]
    peak_items_per_s: float | None


class Trial:
    """One plan on one supply of items."""

    def __init__(self, plan: Plan, supply: Supply, watcher: Watcher) -> None:
        self._plan, self._supply, self._watcher = plan, supply, watcher

    async def run(self, targets: Mapping[int | None, Target]) -> Result:
        """Measure every condition once in each repetition, so that a drift of the machine touches all alike.

        Args:
            targets: what to measure, by batch limit; None is the key of a target as it is configured.

        Raises:
            PrelabelError: nothing_answered, where not one item of a warm-up comes back labelled.
        """
        seen = {limit: await self._warm_up(target) for limit, target in targets.items()}
        if self._plan.scenario == "server":
            [target], [rate] = targets.values(), seen.values()
            needs_peak = self._plan.finds_max_rate or not self._plan.rates_per_s
            peak = await self._peak(target, rate) if needs_peak else None
            return await self._measure(await self._loads(target, peak), peak=peak)
        conditions = [
            Condition(target=target, batch_limit=limit, items=self._items(seen[limit]))
            for limit, target in targets.items()
        ]
        return await self._measure(conditions, peak=None)

    async def _warm_up(self, target: Target) -> float:
        """Items a second in a second wave, after a first one that is thrown away."""
        for what in ("warm-up", "estimate"):
            queries = await self._send_all(target, self._plan.warm_up_items, what)
        return _rate(queries)

    async def _peak(self, target: Target, rate: float) -> float:
        return _rate(await self._send_all(target, self._items(rate), "peak"))

    async def _send_all(self, target: Target, n: int, what: str) -> list[Query]:
        on_done = self._watcher.begin(what, n)
        if self._plan.scenario == "single-stream":
            return await load.single_stream(target.label, self._supply.take(n), on_done=on_done)
        return await load.offline(target.label, self._supply.take(n), at_once=target.at_once, on_done=on_done)

    async def _loads(self, target: Target, peak: float | None) -> list[Condition]:
        """The asked-for loads, or shares of the peak, and the highest good one where it is looked for."""
        rates = list(self._plan.rates_per_s)
        if not rates and peak is not None:
            rates = [share * peak for share in PEAK_SHARES]
        if self._plan.finds_max_rate and peak is not None:
            rates.append(await self._max_rate(target, peak))
        return [Condition(target=target, rate_per_s=rate, items=self._items(rate)) for rate in sorted(rates)]

    async def _max_rate(self, target: Target, peak: float) -> float:
        """Halve the range between nothing and the peak: up where 99 % are in time, down where they are not."""
        low, high = 0.0, peak
        for step in range(_HALVINGS):
            rate = (low + high) / 2
            condition = Condition(target=target, rate_per_s=rate, items=self._items(rate))
            queries = await self._repeat(condition, what=f"search {rate:.3g}/s", number=-1 - step)
            in_time = slice_of(queries, deadline_s=self._plan.deadline_s).in_time or 0.0
            low, high = (rate, high) if in_time >= IN_TIME else (low, rate)
        if not low:
            raise PrelabelError(
                "deadline_missed", f"99 % miss {self._plan.deadline_s} s even at {high:.3g} items/s; allow more time"
            )
        return low

    def _items(self, rate: float) -> int:
        wanted = self._plan.items or max(_LEAST_ITEMS, math.ceil(rate * self._plan.duration_s))
        return wanted if self._plan.items else min(wanted, max(_LEAST_ITEMS, _MOST_BYTES // self._supply.mean_bytes))

    async def _measure(self, conditions: Sequence[Condition], *, peak: float | None) -> Result:
        queries: list[list[list[Query]]] = [[] for _ in conditions]
        work = [dict[str, Work]() for _ in conditions]
        own_cpu_s = [0.0] * len(conditions)
        for repeat in range(self._plan.repeats):
            for index, condition in enumerate(conditions):
                before, cpu_s = condition.target.work(), time.process_time()
                what = f"{repeat + 1}/{self._plan.repeats} {condition.name}"
                queries[index].append(await self._repeat(condition, what=what, number=repeat))
                own_cpu_s[index] += time.process_time() - cpu_s
                work[index] = _added(work[index], _since(before, condition.target.work()))
        rows = zip(conditions, queries, work, own_cpu_s, strict=True)
        return Result(points=tuple(self._point(*row) for row in rows), peak_items_per_s=peak)

    async def _repeat(self, condition: Condition, *, what: str, number: int) -> list[Query]:
        contents, target = self._supply.take(condition.items), condition.target
        on_done = self._watcher.begin(what, condition.items)
        match self._plan.scenario:
            case "single-stream":
                return await load.single_stream(target.label, contents, on_done=on_done)
            case "offline":
                return await load.offline(target.label, contents, at_once=target.at_once, on_done=on_done)
            case "server":
                rng = np.random.default_rng([self._plan.seed, number + _HALVINGS])  # a search counts below zero
                arrivals_s = poisson(condition.rate_per_s or 0.0, n=condition.items, rng=rng)
                return await load.server(target.label, contents, arrivals_s, on_done=on_done)
            case unreachable:
                assert_never(unreachable)

    def _point(
        self, condition: Condition, repeats: Sequence[Sequence[Query]], work: dict[str, Work], own_cpu_s: float
    ) -> Point:
        deadline_s = self._plan.deadline_s
        everything = [query for queries in repeats for query in queries]
        answered = [query.latency_s for query in everything if query.code is None]
        in_time = sum(latency_s <= (deadline_s or 0.0) for latency_s in answered)
        return Point(
            rate_per_s=condition.rate_per_s,
            batch_limit=condition.batch_limit,
            slices=tuple(slice_of(queries, deadline_s=deadline_s) for queries in repeats),
            latency_p99_s=p99(answered),
            in_time_low=None if deadline_s is None else share_low(in_time, len(everything)),
            work=work,
            own_cpu_s=own_cpu_s,
        )


def _rate(queries: Sequence[Query]) -> float:
    rate = slice_of(queries, deadline_s=None).items_per_s
    if not rate:
        codes = ", ".join(f"{n} × {code}" for code, n in Counter(query.code for query in queries).items())
        raise PrelabelError("nothing_answered", f"not one of {len(queries)} items was labelled: {codes}")
    return rate


def _since(before: Mapping[str, Work], after: Mapping[str, Work]) -> dict[str, Work]:
    return {model: work.since(before[model]) for model, work in after.items()}


def _added(one: Mapping[str, Work], other: Mapping[str, Work]) -> dict[str, Work]:
    return {model: one.get(model, Work()) + work for model, work in other.items()}
