"""Runs an adapter so that decoding, the accelerator and post-processing overlap."""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakSet

from models import device, heap
from models.adapter import Adapter, Pads, Recalls, Sample
from models.card import BatchLimits
from models.errors import ItemError, OverloadedError
from models.types import (
    PRIORITIES,
    AudioPayload,
    Content,
    EncodedJpeg,
    ImagePayload,
    KnownImage,
    Payload,
    Prediction,
    Priority,
    TextPayload,
)
from models.waiting import Job, Lane, Turns

logger = logging.getLogger(__name__)

_BULK_SHARE = 0.75  # of the queue: a drop that fills it leaves room for a person who waits
_CLOSE_S = 60.0
_SHORT_PASS_S = 0.5  # of bulk items, as long as interactive ones come
_ABOUT_S = 120.0  # somebody who labels needs no longer for an item

_started: WeakSet[Engine] = WeakSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """What an engine has done and what waits for it.

    ``items`` are those that reached the accelerator; ``batch_sizes`` counts forward passes by their number of items.
    The seconds are busy times: of all CPU threads together for ``prepare_s`` (with decoding) and ``read_s``. ``cost``
    is the sum over the items, ``padded_cost`` what the network computed to fill its batches (equal where a family
    pads nothing). ``max_cost`` is the batch budget now; running out of memory lowers it.
    """

    in_flight: int
    waiting: int
    items: int
    batch_sizes: dict[int, int]
    prepare_s: float
    forward_s: float
    read_s: float
    cost: float
    padded_cost: float
    max_cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """What a forward pass gave for a batch, waiting to be read."""

    raw: Any
    batch: list[Job]


class Engine:
    """One adapter behind a bounded queue.

    ``decode`` and ``prepare`` run on CPU threads for every item as it arrives, ``forward`` on one thread of its own,
    ``read`` on the CPU threads again. The forward thread takes its next batch itself, at the moment it is free, from
    what is ready then: a batch is never frozen early, never waits for a timer, and no event loop stands between two
    forward passes. Reading goes before preparing, and the accelerator waits when outputs pile up unread.

    Interactive items overtake bulk ones and never share a batch with them, so that they wait for one forward pass at
    most; every fifth batch is a bulk one if any waits. An item whose deadline has passed or whose caller has left is
    not computed. A batch that fails is halved until the item that fails alone has failed; running out of memory also
    halves the budget of the batches to come. A device that is lost fails everything, at once and from then on.

    What an adapter recalls (see models/adapter.py) is not decoded. It may keep only what interactive items brought: a
    drop asks about each of its images once, and would push out those that people work on.

    ``predict`` may be called from any running loop.
    """

    def __init__(
        self,
        adapter: Adapter[Any, Any],
        *,
        decode: Callable[[Content], Payload],
        limits: BatchLimits,
        cpu_threads: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._adapter, self._decode, self._clock = adapter, decode, clock
        self._limits, self._max_cost = limits, limits.max_cost
        self._lanes: dict[Priority, Lane] = {priority: Lane() for priority in PRIORITIES}
        self._outputs: deque[_Output] = deque()
        self._reading = 0
        self._prepare_turns, self._forward_turns = Turns(), Turns()
        self._trims = heap.Trims(clock)
        lock = threading.Lock()
        self._lock, self._cpu_work, self._forward_work = lock, threading.Condition(lock), threading.Condition(lock)
        self._jobs: set[Job] = set()
        self._bytes = 0
        self._batch_sizes: Counter[int] = Counter()
        self._busy_s = {"prepare": 0.0, "forward": 0.0, "read": 0.0}
        self._cost = self._padded_cost = 0.0
        self._forward_since: float | None = None
        self._interactive_at = -math.inf
        self._lost: str | None = None
        self._is_closed = False
        self._forward_thread = threading.Thread(target=self._forward_batches, name="prelabel-forward", daemon=True)
        self._cpu_threads = [
            threading.Thread(target=self._work_on_cpu, name=f"prelabel-cpu-{number}", daemon=True)
            for number in range(cpu_threads)
        ]
        self._has_started = False

    async def predict(
        self, content: Content, *, priority: Priority = "interactive", deadline_s: float | None = None
    ) -> Prediction:
        """Label one item.

        Args:
            content: the item's bytes.
            priority: interactive for somebody who waits, bulk for a drop.
            deadline_s: how long from now the answer is of use; None for as long as it takes.

        Raises:
            ItemError: the item cannot be decoded, the model fails on it (model_failed, out_of_memory, device_lost), or
                its deadline passes while it waits (timeout).
            OverloadedError: as much as the limits allow is in flight already.
        """
        deadline = None if deadline_s is None else self._clock() + deadline_s
        answer = asyncio.get_running_loop().create_future()
        job = Job(content=content, priority=priority, deadline=deadline, answer=answer)
        self._admit(job)
        try:
            return await answer
        finally:
            self._leave(job)

    @property
    def in_flight(self) -> int:
        """Items admitted and not yet answered."""
        return len(self._jobs)

    @property
    def waiting(self) -> int:
        """Items prepared and waiting for the accelerator."""
        return sum(len(lane.ready) for lane in self._lanes.values())

    def stats(self) -> EngineStats:
        """What it has done so far, and what waits now."""
        with self._lock:
            return EngineStats(
                in_flight=self.in_flight,
                waiting=self.waiting,
                items=sum(size * count for size, count in self._batch_sizes.items()),
                batch_sizes=dict(sorted(self._batch_sizes.items())),
                prepare_s=self._busy_s["prepare"],
                forward_s=self._busy_s["forward"],
                read_s=self._busy_s["read"],
                cost=self._cost,
                padded_cost=self._padded_cost,
                max_cost=self._max_cost,
            )

    def check_health(self) -> None:
        """Raise RuntimeError when the device is lost, a forward pass hangs, or the forward thread has ended."""
        if self._lost is not None:
            raise RuntimeError(f"the device is lost: {self._lost}")
        since = self._forward_since
        if since is not None and self._clock() - since > self._limits.max_forward_s:
            raise RuntimeError(f"a forward pass has not ended for {self._clock() - since:.0f} s")
        if self._is_closed or (self._has_started and not self._forward_thread.is_alive()):
            raise RuntimeError("the engine's forward thread has ended")

    async def close(self) -> None:
        """End the threads. Items that are not answered yet are cancelled, wherever they are."""
        with self._lock:
            jobs = list(self._jobs)
            self._stop()
        for job in jobs:
            _post(job, job.answer.cancel)

    def _admit(self, job: Job) -> None:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the engine is closed")
            if self._lost is not None:
                raise _device_lost(self._lost)
            self._check_room(job)
            self._jobs.add(job)
            self._bytes += len(job.content.data)
            self._lanes[job.priority].arrived[job] = None
            if job.priority == "interactive":
                self._interactive_at = self._clock()
            if not self._has_started:
                self._start()
            self._cpu_work.notify()

    def _check_room(self, job: Job) -> None:
        share = _BULK_SHARE if job.priority == "bulk" else 1.0
        is_full = len(self._jobs) >= share * self._limits.max_queue
        is_heavy = self._bytes + len(job.content.data) > share * self._limits.max_queue_bytes
        if self._jobs and (is_full or is_heavy):
            message = f"{len(self._jobs)} items wait for this model already; try again later"
            raise OverloadedError(message=message)

    def _leave(self, job: Job) -> None:
        with self._lock:
            self._jobs.discard(job)
            self._bytes -= len(job.content.data)
            if self._lanes[job.priority].discard(job):
                self._cpu_work.notify()  # there is room to prepare another

    def _start(self) -> None:
        self._has_started = True
        for thread in (self._forward_thread, *self._cpu_threads):
            thread.start()
        if not _started:
            atexit.register(_end_all)
        _started.add(self)

    def _stop(self) -> None:
        self._is_closed = True
        self._cpu_work.notify_all()
        self._forward_work.notify_all()

    def end(self) -> None:
        """Wait until the threads have left the libraries' code; only a pass that hangs is given up in the end.

        A thread that comes back from C++ to an interpreter that is gone aborts the process, whatever its exit status.
        """
        with self._lock:
            self._stop()
        until = self._clock() + _CLOSE_S
        for thread in (self._forward_thread, *self._cpu_threads):
            thread.join(max(0.0, until - self._clock()))

    def _work_on_cpu(self) -> None:
        while (work := self._next_work()) is not None:
            work()

    def _next_work(self) -> Callable[[], None] | None:
        """The next thing for a CPU thread; None when the engine is closed."""
        with self._lock:
            while not self._is_closed:
                if self._trims.take():
                    return heap.trim
                if self._outputs:
                    self._reading += 1
                    self._forward_work.notify()  # there is room for another output
                    return partial(self._read, self._outputs.popleft())
                if lane := self._prepare_turns.pick(
                    self._lanes, lambda lane: bool(lane.arrived) and self._has_room(lane)
                ):
                    room = 2 * self._limits.max_items - len(lane.ready) - lane.preparing
                    return partial(self._prepare, lane, lane.take_arrived(room=room))
                self._cpu_work.wait()
        return None

    def _has_room(self, lane: Lane) -> bool:
        return lane.has_room(items=2 * self._limits.max_items, cost=2 * self._max_cost)

    def _prepare(self, lane: Lane, jobs: list[Job]) -> None:
        start = self._clock()
        failures = {job: failure for job in jobs if (failure := self._failure_to_prepare(job)) is not None}
        with self._lock:
            self._busy_s["prepare"] += self._clock() - start
            lane.preparing -= len(jobs)
            prepared = [job for job in jobs if job not in failures and job in self._jobs]
            lane.add_ready(prepared)
            self._forward_work.notify()
            self._cpu_work.notify(len(jobs) - len(prepared))  # each leaves room to prepare another
        for job, failure in failures.items():
            _fail(job, failure)

    def _failure_to_prepare(self, job: Job) -> ItemError | None:
        """Decode and prepare an item, unless it is too late for it; what went wrong, if anything."""
        if job.is_late(self._clock()):
            return _timeout()
        try:
            job.payload = self._payload_of(job)
            [job.sample] = self._adapter.prepare([job.payload])
        except ItemError as err:
            return err
        except Exception as err:
            logger.exception("preparing an item failed")
            if (reason := device.loss(err)) is not None:  # an upload may be the first that meets it
                self._lose(reason)
                return _device_lost(reason)
            if device.is_out_of_memory(err):
                return _failure(err, is_full=True)
            return ItemError("model_failed", f"the item could not be prepared: {type(err).__name__}")
        return None

    def _payload_of(self, job: Job) -> Payload:
        if isinstance(self._adapter, Recalls) and (known := self._adapter.recalled(job.content)) is not None:
            return known
        return self._decode(job.content if job.priority == "interactive" else replace(job.content, digest=None))

    def _forward_batches(self) -> None:
        while (batch := self._next_batch()) is not None:
            samples: list[Sample] = [job.sample for job in batch if job.sample is not None]
            try:
                raw = self._adapter.forward(samples)
            except Exception as err:
                self._end_forward(samples)
                self._recover(batch, err)
            else:
                self._end_forward(samples, _Output(raw=raw, batch=batch))

    def _next_batch(self) -> list[Job] | None:
        """What the accelerator does next, once there is something to do; None when the engine is closed."""
        with self._lock:
            while not self._is_closed:
                has_room = len(self._outputs) + self._reading <= len(self._cpu_threads)
                if has_room and (lane := self._forward_turns.pick(self._lanes, lambda lane: lane.has_batch)):
                    if batch := self._wanted(lane.take_batch(items=self._limits.max_items, cost=self._most_cost(lane))):
                        self._batch_sizes[len(batch)] += 1
                        self._forward_since = self._clock()
                        self._cpu_work.notify_all()  # there is room to prepare others
                        return batch
                    continue
                self._forward_work.wait()
        return None

    def _most_cost(self, lane: Lane) -> float:
        """What a pass may cost: bulk passes are short while somebody may come who has to wait for their end."""
        seconds, is_alone = self._busy_s["forward"], self._clock() - self._interactive_at > _ABOUT_S
        if lane is not self._lanes["bulk"] or is_alone or not seconds:
            return self._max_cost
        return min(self._max_cost, _SHORT_PASS_S * self._cost / seconds)

    def _wanted(self, batch: Sequence[Job]) -> list[Job]:
        """Those of a batch that somebody still waits for; the late ones are told so."""
        now = self._clock()
        for job in batch:
            if job.is_late(now):
                _fail(job, _timeout())
        return [job for job in batch if job in self._jobs and not job.is_late(now)]

    def _end_forward(self, samples: Sequence[Sample], output: _Output | None = None) -> None:
        now, cost = self._clock(), sum(sample.cost for sample in samples)
        padded_cost = self._adapter.padded_cost(samples) if isinstance(self._adapter, Pads) else cost
        with self._lock:
            since = self._forward_since
            self._busy_s["forward"] += 0.0 if since is None else now - since
            self._cost, self._padded_cost = self._cost + cost, self._padded_cost + padded_cost
            self._forward_since = None
            if output is not None:
                self._outputs.append(output)
                self._cpu_work.notify()

    def _read(self, output: _Output) -> None:
        batch, start = output.batch, self._clock()
        payloads: list[Payload] = [job.payload for job in batch if job.payload is not None]
        try:
            predictions = self._adapter.read(output.raw, payloads)
            if len(predictions) != len(batch):
                raise RuntimeError(f"the adapter read {len(predictions)} predictions for {len(batch)} items")
        except Exception as err:
            self._recover(batch, err)
        else:
            _answer(batch, list(map(_with_extent, predictions, payloads)))
        with self._lock:
            self._busy_s["read"] += self._clock() - start
            self._reading -= 1
            self._forward_work.notify()

    def _recover(self, batch: list[Job], error: Exception) -> None:
        """Run the halves of a failed batch again; an item that fails alone has failed, and a lost device fails all."""
        if (reason := device.loss(error)) is not None:
            self._lose(reason)
            return
        is_full = device.is_out_of_memory(error)
        if is_full:
            traceback.clear_frames(error.__traceback__)  # they hold the failed pass's tensors
            device.release_memory()
        if len(batch) == 1:
            logger.error("the model failed on an item", exc_info=error)
            _fail(batch[0], error if isinstance(error, ItemError) else _failure(error, is_full=is_full))
            return
        with self._lock:
            if is_full:
                self._max_cost = min(self._max_cost, sum(job.cost for job in batch) / 2)
                logger.warning("out of memory with %d items; batches cost at most %s now", len(batch), self._max_cost)
            self._lanes[batch[0].priority].put_back(batch)
            self._forward_work.notify()

    def _lose(self, reason: str) -> None:
        """The device cannot be used any more: whoever waits is told so, and whoever comes."""
        logger.error("the device is lost: %s", reason)
        with self._lock:
            self._lost = reason
            jobs = list(self._jobs)
            self._lanes = {priority: Lane() for priority in PRIORITIES}
        for job in jobs:
            _fail(job, _device_lost(reason))


def _end_all() -> None:
    for engine in _started:
        engine.end()


def _with_extent(prediction: Prediction, payload: Payload) -> Prediction:
    """The prediction with the size or the length of what it is about."""
    match payload:
        case ImagePayload() | EncodedJpeg() | KnownImage():
            return replace(prediction, size_hw=payload.size_hw)
        case AudioPayload():
            return replace(prediction, duration_s=payload.duration_s)
        case TextPayload():
            return prediction


def _answer(batch: Sequence[Job], predictions: Sequence[Prediction]) -> None:
    """Tell every caller of a batch, each loop once."""

    def deliver(loop: asyncio.AbstractEventLoop) -> None:
        for job, prediction in zip(batch, predictions, strict=True):
            if job.answer.get_loop() is loop and not job.answer.done():
                job.answer.set_result(prediction)

    for loop in {job.answer.get_loop() for job in batch}:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(deliver, loop)


def _fail(job: Job, error: ItemError) -> None:
    _post(job, lambda: None if job.answer.done() else job.answer.set_exception(error))


def _post(job: Job, call: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and nobody waits
        job.answer.get_loop().call_soon_threadsafe(call)


def _timeout() -> ItemError:
    return ItemError("timeout", "the deadline passed while the item waited; raise deadline_s or send fewer items")


def _device_lost(reason: str) -> ItemError:
    return ItemError("device_lost", f"the model's device cannot be used any more ({reason}); try again later")


def _failure(error: Exception, *, is_full: bool) -> ItemError:
    if is_full:
        return ItemError("out_of_memory", "the item alone does not fit into the device's memory; send a smaller one")
    return ItemError("model_failed", f"the model failed on this item: {type(error).__name__}")
