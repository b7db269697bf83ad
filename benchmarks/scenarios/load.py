"""Sends queries to a target as MLPerf's scenarios do, and keeps when each was due, sent and done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from models.errors import OverloadedError, PrelabelError
from models.types import Content

Ask = Callable[[Content], Awaitable[None]]
SHED = OverloadedError().code


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One item's way through the target, in seconds of one clock; ``code`` says why it was not answered."""

    scheduled_s: float
    sent_s: float
    done_s: float
    code: str | None = None

    @property
    def latency_s(self) -> float:
        """From when it was due. From the send on, a stalled sender would hide what its users wait for."""
        return self.done_s - self.scheduled_s

    @property
    def lag_s(self) -> float:
        """How late the sender was."""
        return self.sent_s - self.scheduled_s


def _nothing() -> None: ...


async def single_stream(
    ask: Ask, contents: Iterable[Content], *, on_done: Callable[[], None] = _nothing
) -> list[Query]:
    """SingleStream: the next query goes out when the last one is done."""
    now = asyncio.get_running_loop().time
    queries = list[Query]()
    for content in contents:
        queries.append(await _query(ask, content, scheduled_s=now()))
        on_done()
    return queries


async def server(
    ask: Ask, contents: Sequence[Content], arrivals_s: Sequence[float], *, on_done: Callable[[], None] = _nothing
) -> list[Query]:
    """Server: every query goes out when it is due, however many are under way (an open loop)."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    tasks = list[asyncio.Task[Query]]()
    for content, arrival_s in zip(contents, arrivals_s, strict=True):
        scheduled_s = start_s + arrival_s
        await asyncio.sleep(max(0.0, scheduled_s - loop.time()))
        tasks.append(asyncio.create_task(_query(ask, content, scheduled_s=scheduled_s)))
        tasks[-1].add_done_callback(lambda _: on_done())
    return await asyncio.gather(*tasks)


async def offline(
    ask: Ask, contents: Iterable[Content], *, at_once: int, on_done: Callable[[], None] = _nothing
) -> list[Query]:
    """Offline: everything is due now, and sent as fast as ``at_once`` open queries allow."""
    start_s = asyncio.get_running_loop().time()
    slots = asyncio.Semaphore(at_once)

    async def ask_in_turn(content: Content) -> Query:
        async with slots:
            query = await _query(ask, content, scheduled_s=start_s)
        on_done()
        return query

    return await asyncio.gather(*(ask_in_turn(content) for content in contents))


async def _query(ask: Ask, content: Content, *, scheduled_s: float) -> Query:
    """Ask once; an expected failure is kept as its code and never ends the run."""
    now, code = asyncio.get_running_loop().time, None
    sent_s = now()
    try:
        await ask(content)
    except PrelabelError as err:
        code = err.code
    return Query(scheduled_s=scheduled_s, sent_s=sent_s, done_s=now(), code=code)
