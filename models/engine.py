"""Runs an adapter so that decoding, the accelerator and post-processing overlap."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from models.adapter import Adapter, Sample
from models.card import BatchLimits
from models.errors import ItemError, OverloadedError
from models.types import Content, Payload, Prediction

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """One prepared item between the CPU threads and the accelerator."""

    payload: Payload
    sample: Sample
    answer: asyncio.Future[Prediction]
    is_alone: bool = False


class Engine:
    """One adapter behind a bounded queue.

    ``decode`` and ``prepare`` run on CPU threads for every item as it arrives, ``forward`` on one thread of its own,
    ``read`` on the CPU threads again. A batch is formed at the moment the forward thread becomes free, from what is
    ready then, so it is never frozen early and never waits for a timer. All methods belong to one asyncio loop.

    An item whose batch fails is run again alone: one bad item never costs another.
    """

    def __init__(
        self,
        adapter: Adapter[Any, Any],
        *,
        decode: Callable[[Content], Payload],
        limits: BatchLimits,
        cpu_threads: int = 2,
    ) -> None:
        self.batch_sizes: Counter[int] = Counter()
        self._adapter = adapter
        self._decode = decode
        self._limits = limits
        self._cpu = ThreadPoolExecutor(cpu_threads, thread_name_prefix="prelabel-cpu")
        self._accelerator = ThreadPoolExecutor(1, thread_name_prefix="prelabel-forward")
        self._ready: deque[_Waiting] = deque()
        self._has_ready = asyncio.Event()
        # Prepared samples are large (an image tensor, a spectrogram): hold two batches of them, not the whole queue.
        self._prepared_slots = asyncio.Semaphore(2 * limits.max_items)
        self._items: set[asyncio.Task[Prediction]] = set()
        self._forward_task: asyncio.Task[None] | None = None
        self._read_tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def in_flight(self) -> int:
        """Items admitted and not yet answered."""
        return len(self._items)

    @property
    def waiting(self) -> int:
        """Items prepared and waiting for the accelerator."""
        return len(self._ready)

    async def predict(self, content: Content) -> Prediction:
        """Label one item.

        Raises:
            ItemError: the item cannot be decoded, or the model fails on it.
            OverloadedError: ``limits.max_queue`` items are in flight already.
        """
        if self._is_closed:
            raise RuntimeError("the engine is closed")
        if self.in_flight >= self._limits.max_queue:
            raise OverloadedError(message=f"{self.in_flight} items wait for this model already; try again later")
        item = asyncio.create_task(self._label(content))
        self._items.add(item)
        item.add_done_callback(self._items.discard)
        return await item

    def check_health(self) -> None:
        """Raise RuntimeError when the forward loop has died (it never should)."""
        if self._forward_task is not None and self._forward_task.done():
            raise RuntimeError("the engine's forward loop has ended")

    async def close(self) -> None:
        """End the loop and the threads. Items that are not answered yet are cancelled, wherever they are."""
        self._is_closed = True
        tasks: list[asyncio.Task[Any]] = [*self._read_tasks, *self._items]
        if self._forward_task is not None:
            tasks.append(self._forward_task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._cpu.shutdown(wait=False, cancel_futures=True)
        self._accelerator.shutdown(wait=False, cancel_futures=True)

    async def _label(self, content: Content) -> Prediction:
        waiting = await self._prepare(content)
        self._ready.append(waiting)
        self._wake()
        return await waiting.answer

    async def _prepare(self, content: Content) -> _Waiting:
        loop = asyncio.get_running_loop()
        await self._prepared_slots.acquire()
        try:
            payload, sample = await loop.run_in_executor(self._cpu, self._decode_and_prepare, content)
        except BaseException:
            self._prepared_slots.release()
            raise
        return _Waiting(payload=payload, sample=sample, answer=loop.create_future())

    def _decode_and_prepare(self, content: Content) -> tuple[Payload, Sample]:
        try:
            payload = self._decode(content)
            [sample] = self._adapter.prepare([payload])
        except ItemError:
            raise
        except Exception as err:
            logger.exception("preparing an item failed")
            raise ItemError("model_failed", f"the item could not be prepared: {type(err).__name__}") from err
        return payload, sample

    def _wake(self) -> None:
        self._has_ready.set()
        if self._forward_task is None:
            self._forward_task = asyncio.create_task(self._forward_batches(), name="prelabel-forward")

    async def _forward_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_ready.wait()
            batch = self._take_batch()
            if not batch:
                self._has_ready.clear()
                continue
            self.batch_sizes[len(batch)] += 1
            samples = [waiting.sample for waiting in batch]
            try:
                raw = await loop.run_in_executor(self._accelerator, self._adapter.forward, samples)
            except Exception as err:
                self._isolate(batch, err)
                continue
            task = asyncio.create_task(self._read(raw, batch))
            self._read_tasks.add(task)
            task.add_done_callback(self._read_tasks.discard)

    def _take_batch(self) -> list[_Waiting]:
        """The longest run of waiting items, oldest first, within the limits; at least one if any waits."""
        batch: list[_Waiting] = []
        cost = 0.0
        while self._ready and len(batch) < self._limits.max_items:
            head = self._ready[0]
            if head.answer.done():  # its caller went away
                self._drop_head()
                continue
            if batch and (head.is_alone or cost + head.sample.cost > self._limits.max_cost):
                break
            self._drop_head()
            batch.append(head)
            cost += head.sample.cost
            if head.is_alone:
                break
        return batch

    def _drop_head(self) -> None:
        if not self._ready.popleft().is_alone:  # an isolated item gave its slot back the first time
            self._prepared_slots.release()

    async def _read(self, raw: Any, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        payloads = [waiting.payload for waiting in batch]
        try:
            predictions = await loop.run_in_executor(self._cpu, self._adapter.read, raw, payloads)
            if len(predictions) != len(batch):
                raise RuntimeError(f"the adapter read {len(predictions)} predictions for {len(batch)} items")
        except Exception as err:
            self._isolate(batch, err)
            return
        for waiting, prediction in zip(batch, predictions, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(prediction)

    def _isolate(self, batch: list[_Waiting], error: Exception) -> None:
        """Run the items of a failed batch again, one at a time; an item that fails alone has failed."""
        if len(batch) == 1:
            logger.error("the model failed on an item", exc_info=error)
            if not batch[0].answer.done():
                failure = error if isinstance(error, ItemError) else _model_failed(error)
                batch[0].answer.set_exception(failure)
            return
        for waiting in reversed(batch):
            waiting.is_alone = True
            self._ready.appendleft(waiting)
        self._has_ready.set()


def _model_failed(error: Exception) -> ItemError:
    return ItemError("model_failed", f"the model failed on this item: {type(error).__name__}")
