"""Writes what waits to be stored in groups, one transaction for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from models.errors import OverloadedError, PrelabelError
from pipelines.errors import StoreUnavailableError

logger = logging.getLogger(__name__)

# A group takes about a tenth of a second: on four shared cores, 128 items with six boxes each took 40 to 55 ms in one
# call, 4 MiB of images 55 to 70 ms, 4 MiB of text 160 to 185 ms (PostgreSQL 18, psycopg 3.3).
_GROUP_ROWS = 128
_GROUP_BYTES = 4 * 2**20
_MOST_GROUPS = 8  # about a second of waiting: half of what the flow grants for storing past a deadline (Flow.save_s)
_WRITE_S = 10.0  # as long as for a connection (engine.py)
_CLOSE_S = 5.0

WorkT = TypeVar("WorkT")


@dataclass(slots=True, kw_only=True, eq=False)
class _Call(Generic[WorkT]):
    """What one caller wants stored, from its arrival to its answer."""

    work: WorkT
    rows: int
    size_bytes: int
    stored: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: Exception) -> None:
        if not self.stored.done():  # else the caller has left
            self.stored.set_exception(error)

    def succeed(self) -> None:
        if not self.stored.done():
            self.stored.set_result(None)


class Groups(Generic[WorkT]):
    """Calls on their way to the database.

    While one group is written, later calls gather, and as many of them as the bounds allow are the next group. There is
    no timer: a call that comes alone is written at once. A group that fails through what is in it is written again
    call by call, so that only the guilty one fails. When the database is away, all of it fail, and none is tried again,
    since it may have been stored. One group at a time: two at once are smaller and cost a fifth more CPU time.
    """

    def __init__(
        self,
        write: Callable[[Sequence[WorkT]], Awaitable[None]],
        *,
        write_s: float = _WRITE_S,
        close_s: float = _CLOSE_S,
    ) -> None:
        """``write`` stores all it is given or nothing; a database that takes longer than ``write_s`` is away."""
        self._write_all, self._write_s, self._close_s = write, write_s, close_s
        self._waiting: dict[_Call[WorkT], None] = {}  # in order, and quick to take one out of
        self._rows = self._bytes = 0  # of what waits
        self._writer: asyncio.Task[None] | None = None
        self._is_closed = False

    def check_room(self) -> None:
        """Raise OverloadedError when what waits fills several groups already."""
        if self._rows >= _MOST_GROUPS * _GROUP_ROWS or self._bytes >= _MOST_GROUPS * _GROUP_BYTES:
            raise OverloadedError(message=f"{len(self._waiting)} calls wait to be stored already; try again later")

    async def save(self, work: WorkT, *, rows: int, size_bytes: int, begin_by: float | None) -> None:
        """Store one call's work. Whoever is cancelled while it waits has nothing stored; what has begun goes on.

        Args:
            rows: how many outcomes it stores.
            begin_by: when the writing must have begun, in the running loop's time; None for whenever.

        Raises:
            OverloadedError: its turn did not come in time; nothing is stored.
            StoreUnavailableError: the database does not answer, or the store is closed.
        """
        if self._is_closed:
            raise _closed()
        call = _Call(work=work, rows=max(rows, 1), size_bytes=size_bytes)
        self._enter(call)
        limit = None if begin_by is None else asyncio.get_running_loop().call_at(begin_by, self._refuse, call, too_late)
        try:
            await call.stored
        finally:
            if limit is not None:
                limit.cancel()
            if call in self._waiting:
                self._forget(call)

    async def close(self) -> None:
        """Take no more, write what waits within ``close_s`` seconds, and let the rest fail."""
        self._is_closed = True
        if self._writer is None:
            return
        try:
            await asyncio.wait([self._writer], timeout=self._close_s)
        finally:
            for call in list(self._waiting):
                self._refuse(call, _closed)
            self._writer.cancel()
            await asyncio.wait([self._writer])

    def _enter(self, call: _Call[WorkT]) -> None:
        self._waiting[call] = None
        self._rows += call.rows
        self._bytes += call.size_bytes
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_groups())

    def _refuse(self, call: _Call[WorkT], why: Callable[[], PrelabelError]) -> None:
        """Let a call fail that still waits; one that has begun is not touched."""
        if call in self._waiting:
            self._forget(call)
            call.fail(why())

    def _forget(self, call: _Call[WorkT]) -> None:
        del self._waiting[call]
        self._rows -= call.rows
        self._bytes -= call.size_bytes

    async def _write_groups(self) -> None:
        while group := self._take():
            await self._write(group)

    def _take(self) -> list[_Call[WorkT]]:
        """The longest run of waiting calls within the bounds of a group; at least one if any waits."""
        group, rows, size = list[_Call[WorkT]](), 0, 0
        for call in self._waiting:
            if call.stored.done():  # its caller has left, and takes it out in a moment
                continue
            rows, size = rows + call.rows, size + call.size_bytes
            if group and (rows > _GROUP_ROWS or size > _GROUP_BYTES):
                break
            group.append(call)
        for call in group:
            self._forget(call)
        return group

    async def _write(self, group: Sequence[_Call[WorkT]]) -> None:
        """Write a group, and answer its callers whatever happens."""
        try:
            await self._write_or_split(group)
        finally:
            for call in group:
                call.fail(StoreUnavailableError())  # those without an answer

    async def _write_or_split(self, group: Sequence[_Call[WorkT]]) -> None:
        try:
            await self._write_at_once(group)
        except StoreUnavailableError:
            return
        except Exception as err:
            if len(group) == 1:
                group[0].fail(err)
                return
            why = type(err).__name__  # its message holds the rows
            logger.warning("%d calls cannot be stored together, and are stored one by one: %s", len(group), why)
            await self._write_one_by_one(group)

    async def _write_one_by_one(self, group: Sequence[_Call[WorkT]]) -> None:
        """Write the calls of a group that failed; when the database goes away, the rest fail."""
        for call in group:
            try:
                await self._write_at_once([call])
            except StoreUnavailableError:
                return
            except Exception as err:
                call.fail(err)

    async def _write_at_once(self, group: Sequence[_Call[WorkT]]) -> None:
        try:
            async with asyncio.timeout(self._write_s):
                await self._write_all([call.work for call in group])
        except TimeoutError as err:
            logger.warning("the store has not answered for %s s", self._write_s)
            raise StoreUnavailableError from err
        for call in group:
            call.succeed()


def too_late() -> OverloadedError:
    return OverloadedError(message="the store cannot keep up, and nothing is stored; try again later")


def _closed() -> StoreUnavailableError:
    return StoreUnavailableError(message="the store is closed, and nothing of this call was kept")
