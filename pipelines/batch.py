"""Labels a drop: lists it, labels what is pending, and stores every outcome once, whatever happens in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import ParamSpec, Protocol, TypeVar

from models.errors import ConfigError, ModelError
from models.types import Task
from pipelines.errors import StoreUnavailableError
from pipelines.prelabel import Flow, Request, pre_label
from pipelines.progress import Progress
from pipelines.recent import Recent
from pipelines.sources.source import Source
from pipelines.store.drops import Drops
from pipelines.store.listing import Added, Entry, Listing
from pipelines.store.store import Store
from pipelines.store.values import Pending, RunStatus
from pipelines.tally import tally
from pipelines.types import Failed, Outcome

_FIRST_ENTRIES, _MOST_ENTRIES = 32, 1_000  # of the listing, at a time: the first are labelled at once
_FAR_AHEAD = 10_000  # entries listed and not yet labelled
_LISTING_S = 5.0  # for the listing to end when it shall
_PAGE = 256  # pending items read at a time
_START = (-1, "")  # of the listing
_MOST_ROWS = 128  # stored at a time, about 50 ms (store/groups.py)
_LOOK_S = 0.5  # for a wish to stop, and for items whose time to be tried again has come
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0  # between two attempts to reach a store that does not answer

P = ParamSpec("P")
T = TypeVar("T")


class Labels(Protocol):
    """What labels items, in this process or on many nodes; a failure is an outcome, not an exception.

    An exception means that nothing can be labelled any more. ``at_once`` is how many items it wants at the same time,
    now: it may change.
    """

    @property
    def at_once(self) -> int: ...

    async def label(self, request: Request) -> Outcome: ...


class FlowLabels:
    """Labels items by a flow in this process; equal contents of a run are computed once.

    A device that is lost ends the run, unless the models ``come_back``: then its items are tried again.
    """

    def __init__(self, flow: Flow, *, at_once: int, recent: Recent, come_back: bool = False) -> None:
        self._flow, self._recent, self.at_once = replace(flow, known=recent), recent, at_once
        self._come_back = come_back

    async def label(self, request: Request) -> Outcome:
        outcome = await pre_label(request, self._flow, priority="bulk")
        if isinstance(outcome, Failed):
            if (
                outcome.failure.code == "device_lost" and not self._come_back
            ):  # no item of this process has a chance any more
                raise ModelError("model_stopped", f"{outcome.failure.message}; the run can be resumed")
        else:
            self._recent.add(outcome.pre_label)
        return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """An outcome that waits to be stored, and whether it comes in the place of a failure."""

    outcome: Outcome
    has_failed: bool


class Batch:
    """One attempt at a run over a drop.

    The store is the truth: what is pending is the listing without what has an outcome. An item takes one of
    ``labels.at_once`` places from the moment it is sent off until its outcome is stored, so what a kill costs is
    bounded by these. Outcomes are stored in groups, each in one transaction with their reviews; what is ready while one
    group is written is the next.

    A store that does not answer is waited for, ``patience_s`` seconds, and the outcomes with it.
    """

    def __init__(
        self,
        run_id: str,
        task: Task,
        *,
        source: Source | None,
        store: Store,
        labels: Labels,
        attempt: int,
        on_progress: Callable[[Progress], None] = lambda _: None,
        patience_s: float = 60.0,
        revive: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``source`` may be None where the run's listing is complete; ``revive`` starts a store that has died."""
        self._run_id, self._attempt = run_id, attempt
        self._task: Task = task
        self._source, self._labels = source, labels
        self._store, self._drops, self._listing = store, Drops(store), Listing(store)
        self._on_progress, self._patience_s, self._revive, self._clock = on_progress, patience_s, revive, clock
        self.progress = Progress()
        self._in_flight = dict[str, asyncio.Task[None]]()
        self._done = asyncio.Queue[_Done]()
        self._something = asyncio.Event()  # was listed or stored
        self._stopping: RunStatus | None = None

    def stop(self) -> None:
        """End after the batches in flight; what is done is kept, and the run can be resumed."""
        self._stopping = self._stopping or "stopped"
        self._something.set()

    async def work(self) -> RunStatus:
        """Label what is pending; how the run ended: done, stopped, or cancelled.

        Raises:
            StoreUnavailableError: the store has not answered for too long.
            ConflictError: somebody else has taken the run over.
            PrelabelError: nothing can be labelled any more, or the source cannot be listed.
        """
        started = self._clock()
        await self._patiently(self._count)
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._write()), group.create_task(self._watch(started))]
                listing = group.create_task(self._list())
                await self._feed(group)
                await asyncio.wait([listing], timeout=_LISTING_S)  # it sees that it shall stop, unless its source hangs
                listing.cancel()
                while self._in_flight:
                    self._something.clear()
                    await self._something.wait()
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as failures:
            raise _first(failures) from failures
        self._tell(started)
        return self._stopping or "done"

    async def _count(self) -> None:
        self.progress = await tally(self._store, self._run_id, self._task)

    async def _list(self) -> None:
        if self.progress.is_listed or self._source is None:
            return
        entries, size = enumerate(self._source.entries()), _FIRST_ENTRIES
        while (part := await asyncio.to_thread(_take, entries, size)) and not self._stopping:
            begun = self._clock()
            added = await self._patiently(self._add, part)
            self.progress.listed += added.items
            self.progress.failed += added.failed
            size = min(2 * size, _MOST_ENTRIES)
            self._something.set()
            if self.progress.listed - self.progress.finished > _FAR_AHEAD:
                await asyncio.sleep(self._clock() - begun)  # half of the time is for what is labelled
        if self._stopping:
            return
        await self._patiently(self._listing.finish, self._run_id, attempt=self._attempt)
        self.progress.listed = await self._patiently(self._listing.count, self._run_id)
        self.progress.is_listed = True
        self._something.set()

    async def _add(self, part: list[Entry]) -> Added:
        return await self._listing.add(self._run_id, part, task=self._task, attempt=self._attempt)

    async def _feed(self, group: asyncio.TaskGroup) -> None:
        """Send off what is pending, and what is to be tried again, until nothing is left or it shall stop."""
        after = _START
        while not self._stopping:
            self._something.clear()
            is_listed = self.progress.is_listed  # asked before the page, so that an empty one means the end
            page = await self._patiently(self._pending, after)
            due = await self._patiently(self._due) if self.progress.retrying or not page else []
            for pending in (*due, *page):
                await self._room()
                if self._stopping:
                    return
                self._in_flight[pending.item.id] = group.create_task(self._label(pending))
            if page:
                after = (page[-1].position, page[-1].item.id)
            elif not due:
                if is_listed and not self._in_flight and await self._patiently(self._next_retry_s) is None:
                    if after == _START:
                        return
                    after = _START  # a folder that has changed since an earlier attempt lists items before its others
                    continue
                await self._look()

    async def _pending(self, after: tuple[int, str]) -> list[Pending]:
        return await self._listing.pending(self._run_id, task=self._task, after=after, limit=_PAGE)

    async def _due(self) -> list[Pending]:
        busy = set(self._in_flight)  # before the query: what it finds of them may be out of date when it answers
        due = await self._listing.due(self._run_id, task=self._task, limit=_PAGE + len(busy))
        return [pending for pending in due if pending.item.id not in busy]

    async def _next_retry_s(self) -> float | None:
        return await self._listing.next_retry_s(self._run_id, task=self._task)

    async def _room(self) -> None:
        """Wait until another item can be sent off, or none shall be."""
        while len(self._in_flight) >= self._labels.at_once and not self._stopping:
            self._something.clear()
            await self._look()  # there may be more room without anything being stored

    async def _look(self) -> None:
        """Wait for something, or for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):  # wait_for loses a cancellation now and then (python/cpython#86296)
                await self._something.wait()

    async def _label(self, pending: Pending) -> None:
        outcome = await self._labels.label(Request(item=pending.item, task=self._task))
        if isinstance(outcome, Failed):
            outcome = replace(outcome, failure=replace(outcome.failure, attempts=pending.attempts + 1))
        self._done.put_nowait(_Done(outcome=outcome, has_failed=pending.has_failed))

    async def _write(self) -> None:
        while True:
            group = [await self._done.get()]
            while not self._done.empty() and len(group) < _MOST_ROWS:
                group.append(self._done.get_nowait())
            outcomes = [done.outcome for done in group]
            stored = await self._patiently(self._save, outcomes)
            for done, outcome in zip(group, stored, strict=True):
                self.progress.add(outcome, has_failed=done.has_failed)
                del self._in_flight[done.outcome.item.id]
            self._something.set()

    async def _save(self, outcomes: list[Outcome]) -> list[Outcome]:
        return await self._store.save(outcomes, run_id=self._run_id, attempt=self._attempt)

    async def _watch(self, started: float) -> None:
        """Tell how far it is, and look whether somebody wants it to end."""
        while True:
            self._tell(started)
            await asyncio.sleep(_LOOK_S)
            with suppress(StoreUnavailableError):
                if await self._drops.is_stopping(self._run_id):
                    self._stopping = "cancelled"
                    self._something.set()

    async def _patiently(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the call gives, tried again as long as the store does not answer."""
        until, pause_s = self._clock() + self._patience_s, _FIRST_PAUSE_S
        while True:
            try:
                return await call(*args, **kwargs)
            except StoreUnavailableError:
                if self._clock() + pause_s > until:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                if self._revive is not None:
                    with suppress(ConfigError):  # then it is waited for, as any other
                        await asyncio.to_thread(self._revive)

    def _tell(self, started: float) -> None:
        self.progress.elapsed_s = self._clock() - started
        self._on_progress(self.progress)


def _take(entries: Iterator[Entry], size: int) -> list[Entry]:
    return list(islice(entries, size))


def _first(failures: BaseExceptionGroup) -> BaseException:
    """The failure that ended the others; callers know it by its class."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
