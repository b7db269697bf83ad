"""Measures how much memory batches of a model take and how fast they run, and says how large a batch pays."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import device
from models.adapter import Adapter, Sample
from models.errors import ModelError
from models.memory import Gauge

MARGIN = 0.9  # allocators fragment, and kernels of other shapes want other workspaces
_PAYS = 0.95  # of the best rate: what a larger batch would add is not worth its memory and its wait
_PASSES = 3
_MOST_ITEMS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMemory:
    """The most bytes that were in use while a batch of ``items`` with ``cost`` ran, the model's own among them.

    ``items_per_s`` is that of the forward pass alone; None where it was not looked at.
    """

    items: int
    cost: float
    peak_bytes: int
    items_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What ends the search for larger batches: memory that a batch would probably exceed, time, or a number."""

    budget_bytes: int
    seconds: float = 60.0
    most_items: int = _MOST_ITEMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """Batch limits that pay, and the bytes that the model needs with them."""

    max_items: int
    max_cost: float
    needed_bytes: int


def measure(
    adapter: Adapter[Any, Any],
    samples: Sequence[Sample],
    *,
    gauge: Gauge,
    bounds: Bounds,
    clock: Callable[[], float] = time.perf_counter,
) -> list[BatchMemory]:
    """Batches of 1, 2, 4, 8 … items, made up of the samples in turn, until a bound is met or memory runs out.

    Args:
        adapter: the model; nothing else may run on its device.
        samples: prepared items as they come in practice.
        gauge: reads the memory.
        bounds: batches of one and two items run in any case.
        clock: gives seconds.
    """
    begin, done = clock(), list[BatchMemory]()
    for batch in _batches(samples, bounds.most_items):
        try:
            done.append(_measured(adapter, batch, gauge, clock))
        except (RuntimeError, MemoryError) as err:
            if not device.is_out_of_memory(err):
                raise
            device.release_memory()
            break
        if _is_enough(done, bounds, elapsed_s=clock() - begin):
            break
    return done


def _batches(samples: Sequence[Sample], most_items: int) -> Iterator[list[Sample]]:
    for power in itertools.count():
        if 2**power > max(2, most_items):
            return
        yield [samples[index % len(samples)] for index in range(2**power)]


def _measured(
    adapter: Adapter[Any, Any], batch: Sequence[Sample], gauge: Gauge, clock: Callable[[], float]
) -> BatchMemory:
    """The first pass warms up for the batch's shape, and its memory counts; the others are timed."""
    peak_bytes = gauge.peak(lambda: adapter.forward(batch))
    seconds = statistics.median(_pass_s(adapter, batch, clock) for _ in range(_PASSES))
    cost = sum(sample.cost for sample in batch)
    return BatchMemory(items=len(batch), cost=cost, peak_bytes=peak_bytes, items_per_s=len(batch) / max(seconds, 1e-9))


def _pass_s(adapter: Adapter[Any, Any], batch: Sequence[Sample], clock: Callable[[], float]) -> float:
    begin = clock()
    adapter.forward(batch)
    device.wait()
    return clock() - begin


def _is_enough(done: Sequence[BatchMemory], bounds: Bounds, *, elapsed_s: float) -> bool:
    """Whether a batch twice as large would probably exceed the memory or the time."""
    if len(done) < 2:
        return False
    before, last = done[-2:]
    next_bytes = last.peak_bytes + 2 * max(0, last.peak_bytes - before.peak_bytes)
    next_s = (1 + _PASSES) * 2 * last.items / (last.items_per_s or math.inf)
    return next_bytes > bounds.budget_bytes or elapsed_s + next_s > bounds.seconds


def largest_cost(measured: Sequence[BatchMemory], *, budget_bytes: int) -> float:
    """The largest ``limits.max_cost`` whose batches stay within nine tenths of a budget.

    Memory is taken to grow in a straight line with the cost (least squares), never to shrink with it.

    Raises:
        ModelError: fewer than two sizes could be measured, or the model alone exceeds the budget.
    """
    alone, slope = _line(measured)
    if alone >= MARGIN * budget_bytes:
        wanted = f"got a budget of {budget_bytes / 2**20:.0f} MiB, the model alone takes {alone / 2**20:.0f} MiB"
        raise ModelError("bad_card", f"no batch fits: {wanted}")
    return float((MARGIN * budget_bytes - alone) / slope) if slope > 0.0 else float("inf")


def recommended(
    measured: Sequence[BatchMemory], *, budget_bytes: int, median_cost: float, overhead_bytes: int = 0
) -> Recommended:
    """The smallest batch within 5 % of the best rate, if it fits; else what fits. Nothing beyond what was measured.

    Args:
        measured: batches of typical large items.
        budget_bytes: all that the model may take.
        median_cost: of one item; ``max_items`` lets so many of them fill ``max_cost``.
        overhead_bytes: what the budget must hold beside the measured memory.

    Raises:
        ModelError: fewer than two sizes could be measured, or no batch of one item fits the budget.
    """
    fits = largest_cost(measured, budget_bytes=budget_bytes - overhead_bytes)
    smallest = min(batch.cost for batch in measured)
    if fits < smallest:
        raise ModelError(
            "bad_card", f"no item fits a budget of {budget_bytes / 2**20:.0f} MiB: one costs {smallest:g}, {fits:g} fit"
        )
    max_cost = min(fits, paying(measured).cost)
    alone, slope = _line(measured)
    needed_bytes = (alone + slope * max_cost) / MARGIN + overhead_bytes
    max_items = min(_MOST_ITEMS, max(1, math.floor(max_cost / median_cost * (1 + 1e-9))))
    return Recommended(max_items=max_items, max_cost=_rounded_up(max_cost), needed_bytes=math.ceil(needed_bytes))


def paying(measured: Sequence[BatchMemory]) -> BatchMemory:
    """The smallest batch within 5 % of the best rate."""
    best = max(batch.items_per_s or 0.0 for batch in measured)
    return next(batch for batch in measured if (batch.items_per_s or 0.0) >= _PAYS * best)


def growth(measured: Sequence[BatchMemory]) -> float:
    """Bytes for each unit of cost, 0 at least."""
    return _line(measured)[1]


def gpu_share(needed_bytes: float, *, device_bytes: int) -> float:
    """The fraction of a device for ``num_gpus``: rounded up to a hundredth, a whole device at most."""
    hundredths = 100 * min(needed_bytes, device_bytes) / device_bytes
    return math.ceil(round(hundredths, 6)) / 100


def _line(measured: Sequence[BatchMemory]) -> tuple[float, float]:
    """Bytes without any batch, and bytes for each unit of cost, which are 0 at least."""
    costs = np.array([batch.cost for batch in measured])
    if len(set(costs.tolist())) < 2:
        raise ModelError("bad_card", "batches of two sizes or more must fit to say how memory grows")
    slope, alone = np.polyfit(costs, [batch.peak_bytes for batch in measured], deg=1)
    return float(alone), max(0.0, float(slope))


def _rounded_up(cost: float) -> float:
    """To four digits: sums of equal costs differ in their last one, and a batch must not lose an item to that."""
    digits = 3 - math.floor(math.log10(cost))
    return math.ceil(cost * 10**digits) / 10**digits
