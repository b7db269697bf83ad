"""Batches the same forward in four ways inside a Ray Serve replica, and drives each by arrivals at fixed times."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from ray import serve

from benchmarks.arrivals import Load
from benchmarks.ratios.latencies import DRAIN_S, Arm, Latencies, Network
from models.card import BatchLimits
from models.engine import Engine
from models.types import Content, Payload, Prediction, TextPayload

MAX_ITEMS = 32
WAIT_S = 0.01  # Ray Serve's default
LONG_WAIT_S = 0.06  # at least as long as a forward
_TOKENS = 64


class Forward:
    """One accelerator: 50 ms and 1 ms for each item, or a small BERT; after ``end`` it costs nothing."""

    def __init__(self, network: Network) -> None:
        self._network = _bert() if network == "bert" else _sleep
        self.sizes: list[int] = []
        self.is_over = False

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        """The numbers that went in, so that every answer can be checked."""
        if not self.is_over:
            self.sizes.append(len(numbers))
            self._network(len(numbers))
        return list(numbers)


def _sleep(n: int) -> None:
    time.sleep(0.050 + 0.001 * n)


def _bert() -> Callable[[int], None]:
    import torch
    from transformers import BertConfig, BertModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    size = BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
    network = BertModel(size).eval()
    ids = torch.randint(0, size.vocab_size, (MAX_ITEMS, _TOKENS))

    def run(n: int) -> None:
        with torch.inference_mode():
            network(ids[:n])

    run(MAX_ITEMS)
    return run


class Batching(Protocol):
    """Answers each number with itself, after a forward over some of them."""

    def predict(self, number: int, /) -> Coroutine[Any, Any, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    number: int
    cost: float = 1.0


class _Numbers:
    """The forward as an adapter of ours."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    def prepare(self, payloads: Sequence[Payload]) -> list[_Sample]:
        return [_Sample(number=int(payload.text)) for payload in payloads if isinstance(payload, TextPayload)]

    def forward(self, batch: Sequence[_Sample]) -> list[int]:
        return self._forward([sample.number for sample in batch])

    def read(self, raw: list[int], payloads: Sequence[Payload]) -> list[Prediction]:
        return [Prediction(signals={"number": float(number)}) for number in raw]


class _LateBinding:
    def __init__(self, forward: Forward) -> None:
        limits = BatchLimits(max_items=MAX_ITEMS, max_queue=100_000)
        self._engine = Engine(_Numbers(forward), decode=lambda c: TextPayload(text=c.data.decode()), limits=limits)

    async def predict(self, number: int) -> int:
        prediction = await self._engine.predict(Content(media="text", data=str(number).encode()))
        return int(prediction.signals["number"])


class _FixedWait:
    """As Ray Serve's guide to asyncio advises: the forward in a thread, so that the loop stays free."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    @serve.batch(max_batch_size=MAX_ITEMS, batch_wait_timeout_s=WAIT_S)
    async def predict(self, numbers: list[int]) -> list[int]:
        return await asyncio.to_thread(self._forward, numbers)


class _LongWait(_FixedWait):
    """The same with a wait that is longer than a forward, so that batches fill while one runs."""

    @serve.batch(max_batch_size=MAX_ITEMS, batch_wait_timeout_s=LONG_WAIT_S)
    async def predict(self, numbers: list[int]) -> list[int]:
        return await asyncio.to_thread(self._forward, numbers)


class _BlockingLoop(_FixedWait):
    """The forward on the loop itself, which stands still meanwhile: arrivals gather, and so do health checks."""

    @serve.batch(max_batch_size=MAX_ITEMS, batch_wait_timeout_s=WAIT_S)
    async def predict(self, numbers: list[int]) -> list[int]:
        return self._forward(numbers)


def _batching(arm: Arm, forward: Forward) -> Batching:
    match arm:
        case "late_binding":
            return _LateBinding(forward)
        case "fixed_wait":
            return _FixedWait(forward)
        case "long_wait":
            return _LongWait(forward)
        case "blocking_loop":
            return _BlockingLoop(forward)
        case _:
            assert_never(arm)


@serve.deployment(max_ongoing_requests=16)
class Replica:
    """Drives one arm at a time; calls and arrivals share its loop, as a replica's requests do."""

    async def peak(self, network: Network) -> float:
        """Items per second of the late-binding arm when everything waits already."""
        forward = Forward(network)
        batching, n = _batching("late_binding", forward), 10 * MAX_ITEMS
        await asyncio.gather(*(batching.predict(number) for number in range(MAX_ITEMS)))
        start = time.perf_counter()
        await asyncio.gather(*(batching.predict(number) for number in range(n)))
        return n / (time.perf_counter() - start)

    async def drive(self, arm: Arm, network: Network, load: Load) -> Latencies:
        """Send items at their times, whatever has been answered by then."""
        forward = Forward(network)
        batching = _batching(arm, forward)
        await batching.predict(0)
        forward.sizes.clear()
        times = load.times()
        latencies = [0.0] * len(times)
        start = time.perf_counter()

        async def ask(number: int) -> None:
            if await batching.predict(number) != number:
                raise RuntimeError(f"{arm} mixed up the answers")
            latencies[number] = time.perf_counter() - start - times[number]

        asked = list[asyncio.Task[None]]()
        for number, moment in enumerate(times):
            # What fell due while the loop stood still comes at once, as it would through a socket.
            if (left_s := start + moment - time.perf_counter()) > 0:
                await asyncio.sleep(left_s)
            asked.append(asyncio.create_task(ask(number)))
        _, late = await asyncio.wait(asked, timeout=DRAIN_S)
        end, sizes = time.perf_counter() - start, list(forward.sizes)
        forward.is_over = True
        await asyncio.gather(*asked)
        capped = [min(latency, end - moment) for latency, moment in zip(latencies, times, strict=True)]
        cuts = statistics.quantiles(capped, n=20)
        return Latencies(
            p50_ms=1000 * statistics.median(capped),
            p95_ms=1000 * cuts[18],
            items=len(times),
            late=len(late),
            mean_batch=statistics.fmean(sizes),
        )
