"""Measures how much memory batches of a model take, and says how large a batch fits."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.adapter import Adapter, Sample
from models.errors import ModelError

_MARGIN = 0.9  # allocators fragment, and kernels of other shapes want other workspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMemory:
    """The most bytes that were in use while a batch of ``items`` with ``cost`` ran, the model's own among them."""

    items: int
    cost: float
    peak_bytes: int


def measure(
    adapter: Adapter[Any, Any], samples: Sequence[Sample], *, sizes: Sequence[int], is_torch_on_cuda: bool
) -> list[BatchMemory]:
    """The memory of a batch of each size, smallest first, made up of the samples in turn; stops where one runs out.

    Args:
        adapter: the model; nothing else may run on its device.
        samples: prepared items as they come in practice.
        sizes: numbers of items.
        is_torch_on_cuda: what torch allocates on the device is measured; else the process's resident memory, whose
            peak can only grow, so that a first batch of one item sets the floor.
    """
    return list(_measured(adapter, samples, sorted(sizes), is_torch_on_cuda))


def _measured(
    adapter: Adapter[Any, Any], samples: Sequence[Sample], sizes: Sequence[int], is_torch_on_cuda: bool
) -> Iterator[BatchMemory]:
    for size in sizes:
        batch = [samples[index % len(samples)] for index in range(size)]
        try:
            peak_bytes = _peak_bytes(adapter, batch, is_torch_on_cuda)
        except (RuntimeError, MemoryError) as err:
            if isinstance(err, MemoryError) or "out of memory" in str(err):
                return
            raise
        yield BatchMemory(items=size, cost=sum(sample.cost for sample in batch), peak_bytes=peak_bytes)


def _peak_bytes(adapter: Adapter[Any, Any], batch: Sequence[Sample], is_torch_on_cuda: bool) -> int:
    if not is_torch_on_cuda:
        adapter.forward(batch)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    torch.cuda.reset_peak_memory_stats()
    adapter.forward(batch)
    return torch.cuda.max_memory_allocated()


def largest_cost(measured: Sequence[BatchMemory], *, budget_bytes: int) -> float:
    """The largest ``limits.max_cost`` whose batches stay within nine tenths of a budget.

    Memory is taken to grow in a straight line with the cost (least squares), never to shrink with it.

    Raises:
        ModelError: fewer than two sizes could be measured, or the model alone exceeds the budget.
    """
    costs = np.array([batch.cost for batch in measured])
    if len(set(costs.tolist())) < 2:
        raise ModelError("bad_card", "batches of two sizes or more must fit to say how memory grows")
    slope, alone = np.polyfit(costs, [batch.peak_bytes for batch in measured], deg=1)
    if alone >= _MARGIN * budget_bytes:
        wanted = f"got a budget of {budget_bytes / 2**20:.0f} MiB, the model alone takes {alone / 2**20:.0f} MiB"
        raise ModelError("bad_card", f"no batch fits: {wanted}")
    return float((_MARGIN * budget_bytes - alone) / slope) if slope > 0.0 else float("inf")
