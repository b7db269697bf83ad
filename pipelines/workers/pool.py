"""Labels a drop's items on many workers, and finds out which item it is that kills them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from models.errors import ConfigError, ModelError, PrelabelError
from pipelines.prelabel import Request
from pipelines.types import Failed, Failure, Outcome

logger = logging.getLogger(__name__)

_MOST_DEATHS = 20  # one after the other, without an item done in between
_MOST_START_DEATHS = 3  # one after the other, while no other worker is ready
_LONGEST_PAUSE_S = 30.0


class WorkerLostError(Exception):
    """A worker's process, or its node, is gone; what it worked on has no outcome."""


class Worker(Protocol):
    """A process that labels items; each call raises WorkerLostError once the process is gone."""

    async def start(self) -> Mapping[str, str]:
        """What it labels with, by name, once it is ready; waits as long as there is no room for it.

        Raises:
            ConfigError: its models cannot be loaded.
        """
        ...

    async def label(self, requests: Sequence[Request]) -> Sequence[Outcome]: ...

    async def end(self) -> None:
        """End the process now; also one that has not started yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How many workers there may be, and how much each gets: ``batches`` of ``batch_items`` at the same time.

    ``most`` is asked again whenever items wait, as nodes join and leave. A worker that dies is replaced after
    ``pause_s`` seconds, and twice as long each time that its place stays without a living one; for ``last_words_s`` it
    is waited for what it had done before. One that has nothing to do for ``idle_s`` seconds leaves.
    """

    most: Callable[[], int]
    batch_items: int
    batches: int = 3  # one that runs, one that is prepared, one on its way
    pause_s: float = 0.5
    last_words_s: float = 5.0
    idle_s: float = 30.0

    @property
    def items(self) -> int:
        """What one worker has in hand at most."""
        return self.batches * self.batch_items


@dataclass(eq=False, slots=True)
class _Asked:
    """An item that waits for its outcome."""

    request: Request
    answer: asyncio.Future[Outcome]


@dataclass(eq=False, slots=True)
class _Place:
    """A worker's place, which is filled again when the worker dies."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    flying: dict[asyncio.Task[Sequence[Outcome]], list[_Asked]] = field(default_factory=dict)
    is_ready: bool = False


class WorkerPool:
    """The Labels of a batch, done by workers that may die at any time.

    Items go to whichever worker has room, in batches. What a worker had in hand when it died is labelled again, each
    item alone on a worker, so the one that kills it fails with the code worker_lost and takes no other with it. A place
    whose worker died gets another one. There is one worker until more items wait than it has room for, then as many as
    there may be; one that has nothing to do for a while leaves, but for the last.
    """

    def __init__(self, hire: Callable[[], Worker], crew: Crew) -> None:
        self._hire, self._crew = hire, crew
        self._waiting = deque[_Asked]()
        self._suspects = deque[_Asked]()  # a worker died while it had them
        self._killers = set[str]()  # ids of items that killed a worker they had for themselves
        self._places = list[_Place]()
        self._keeping = set[asyncio.Task[None]]()  # the places, and what is still to be done for those that are left
        self._examiner: _Place | None = None
        self._labels_with: Mapping[str, str] = {}
        self._deaths = self._start_deaths = self._most_workers = 0
        self._failure: PrelabelError | None = None
        self._started = asyncio.Event()

    @property
    def at_once(self) -> int:
        """What the workers that are ready have room for, and one batch that waits and so shows that more are needed."""
        return self._crew.items * sum(place.is_ready for place in self._places) + self._crew.batch_items

    @property
    def workers(self) -> int:
        """How many are ready."""
        return sum(place.is_ready for place in self._places)

    @property
    def most_workers(self) -> int:
        """How many were ready at the same time, at most."""
        return self._most_workers

    async def start(self) -> Mapping[str, str]:
        """Start the first worker; what it labels with, by name.

        Raises:
            PrelabelError: it cannot be started.
        """
        self._add_place()
        await self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self._labels_with

    async def label(self, request: Request) -> Outcome:
        """What became of an item.

        Raises:
            PrelabelError: no worker can be kept alive.
        """
        if self._failure is not None:
            raise self._failure
        asked = _Asked(request, asyncio.get_running_loop().create_future())
        (self._suspects if request.item.id in self._killers else self._waiting).append(asked)
        if len(self._waiting) - self._room >= self._crew.batch_items or not self._places:
            self._grow()
        self._wake()
        return await asked.answer

    async def close(self) -> None:
        """End the workers, and what they are at."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)

    @property
    def _room(self) -> int:
        """How many items the workers would take now, and those will that are being started."""
        return sum(self._crew.batch_items * (self._crew.batches - len(place.flying)) for place in self._places)

    def _grow(self) -> None:
        while len(self._places) < max(1, self._crew.most()):
            self._add_place()

    def _add_place(self) -> None:
        place = _Place()
        self._places.append(place)
        task = asyncio.create_task(self._keep(place))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _keep(self, place: _Place) -> None:
        """Keep a worker in the place until it is not needed any more."""
        pause_s = self._crew.pause_s
        try:
            while self._failure is None:
                worker = self._hire()
                try:
                    await self._begin(worker)
                    pause_s = self._crew.pause_s
                    await self._feed(place, worker)
                    return
                except WorkerLostError as err:
                    logger.warning("a worker is gone: %s", err)
                    await self._lose(place, err)
                finally:
                    place.is_ready = False
                    await asyncio.shield(worker.end())
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        except PrelabelError as err:
            self._fail(err)
        except Exception as err:
            logger.exception("a worker's place failed")
            self._fail(ModelError("model_stopped", f"the workers cannot be reached: {type(err).__name__}: {err}"))
        finally:
            self._leave(place)

    async def _begin(self, worker: Worker) -> None:
        try:
            self._check(await worker.start())
        except WorkerLostError as err:
            self._start_deaths += 1
            if self._start_deaths >= _MOST_START_DEATHS and not self.workers:
                raise ModelError(
                    "model_stopped", f"{self._start_deaths} workers died while they started: {err}"
                ) from err
            raise
        self._start_deaths = 0

    def _leave(self, place: _Place) -> None:
        if place not in self._places:
            return
        self._places.remove(place)
        for task in place.flying:
            task.cancel()
        if self._examiner is place:
            self._examiner = None
        self._wake()

    def _check(self, labels_with: Mapping[str, str]) -> None:
        self._labels_with = self._labels_with or labels_with
        if changed := sorted(k for k in self._labels_with if self._labels_with[k] != labels_with.get(k)):
            raise ConfigError(
                f"a worker has another version of {', '.join(changed)} than the first; give every node the same files"
            )
        self._started.set()

    async def _feed(self, place: _Place, worker: Worker) -> None:
        """Give the worker what waits, until it dies or nothing has come for a while."""
        place.is_ready = True
        self._most_workers = max(self._most_workers, self.workers)
        while self._failure is None:
            place.news.clear()
            while batch := self._next(place):
                task = asyncio.create_task(_labelled(worker, batch))
                task.add_done_callback(lambda _: place.news.set())
                place.flying[task] = batch
            try:
                async with asyncio.timeout(self._crew.idle_s):
                    await place.news.wait()
            except TimeoutError:
                if not place.flying and len(self._places) > 1:
                    self._leave(place)  # before anybody counts on it
                    return
            self._collect(place)

    def _next(self, place: _Place) -> list[_Asked]:
        """What the place's worker gets now: a suspect alone, or a batch, if it has room."""
        if self._suspects and self._examiner is None:
            self._examiner = place
        if self._examiner is place:
            if place.flying:
                return []
            if self._suspects:
                return [self._suspects.popleft()]
            self._examiner = None
        if len(place.flying) >= self._crew.batches:
            return []
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._crew.batch_items))]

    def _collect(self, place: _Place) -> None:
        """Pass on what the worker has done.

        Raises:
            WorkerLostError: it has died over the rest.
        """
        lost: BaseException | None = None
        for task in [task for task in place.flying if task.done()]:
            if (failure := task.exception()) is not None:
                lost = failure
                continue
            for asked, outcome in zip(place.flying.pop(task), task.result(), strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(outcome)
            self._deaths = 0
        if lost is not None:
            raise lost

    async def _lose(self, place: _Place, err: WorkerLostError) -> None:
        """Note who may have killed the worker, or who has."""
        if place.flying:
            await asyncio.wait(place.flying, timeout=self._crew.last_words_s)
            with suppress(WorkerLostError):
                self._collect(place)  # what it did before
        held = [asked for batch in place.flying.values() for asked in batch if not asked.answer.done()]
        place.flying = {}
        is_proven = self._examiner is place and len(held) == 1
        for asked in held:
            if is_proven:
                self._killers.add(asked.request.item.id)
                asked.answer.set_result(_lost(asked.request, err))
            else:
                self._suspects.append(asked)
        if self._examiner is place:
            self._examiner = None
        self._deaths += 1
        if self._deaths >= max(_MOST_DEATHS, 2 * len(self._places)):
            raise ModelError("model_stopped", f"{self._deaths} workers died in a row, and nothing was done: {err}")
        self._wake()

    def _fail(self, failure: PrelabelError) -> None:
        self._failure = self._failure or failure
        flying = [asked for place in self._places for batch in place.flying.values() for asked in batch]
        for asked in (*self._waiting, *self._suspects, *flying):
            if not asked.answer.done():
                asked.answer.set_exception(self._failure)
        self._waiting.clear()
        self._suspects.clear()
        self._started.set()
        self._wake()

    def _wake(self) -> None:
        for place in self._places:
            place.news.set()


async def _labelled(worker: Worker, batch: Sequence[_Asked]) -> Sequence[Outcome]:
    return await worker.label([asked.request for asked in batch])


def _lost(request: Request, err: WorkerLostError) -> Failed:
    message = f"a worker's process died while it had this item alone ({err}); the item itself may be the cause"
    return Failed(item=request.item, task=request.task, failure=Failure(code="worker_lost", message=message))
