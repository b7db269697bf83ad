"""Calls the service from coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial, wraps
from itertools import count
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from models.errors import PrelabelError
from models.types import Priority
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from pipelines.types import Failure
from serving.client import calls
from serving.client.address import checked_url, checked_value
from serving.client.batch import Batch, batches, halves
from serving.client.call import Call, form
from serving.client.calls import Pages, Terms
from serving.client.errors import AnswerError, UnreachableError
from serving.client.patience import Patience
from serving.client.surroundings import Surroundings
from serving.client.tally import Progress, Tally
from serving.client.trouble import Trouble, is_of_the_items, trouble_of, trouble_of_transport
from serving.client.window import Window
from serving.runs.answers import RunState

P = ParamSpec("P")
T = TypeVar("T")

BATCH_ITEMS, BATCH_BYTES, CALLS_AT_ONCE = 64, 16 * 2**20, 4
_CALL_ITEMS, _CALL_BYTES = 1_000, 48 * 2**20  # what a service takes unless its settings say otherwise, and some room
_CONNECT_S = 10.0
_FIRST_POLL_S, _LONGEST_POLL_S = 0.5, 10.0


def _sends(make: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    """A method that makes a call."""

    @wraps(make)
    async def method(self: AsyncClient, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(make(*args, **kwargs))

    return method


def _pages(make: Callable[P, Pages[T]]) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]:
    """A method that gives what stands on all pages of an answer, one page at a time."""

    @wraps(make)
    async def method(self: AsyncClient, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        pages, after, is_last = make(*args, **kwargs), None, False
        while not is_last:
            page = await self.send(pages(after))
            for entry in page.entries:
                yield entry
            after, is_last = page.next, page.next is None

    return method


class AsyncClient:
    """A service, from coroutines of asyncio.

    A call is made again, up to ``attempts`` times and after growing random waits, when nobody answers or the answer is
    429, 502, 503 or 504; never when doing it twice would come to more than once. All of this ends ``timeout_s``
    seconds after it began.

    Proxies and credentials of the environment are not used; an ``http`` client of one's own may use them, and is not
    closed here. The methods raise PrelabelError's children: UnreachableError, AnswerError, and what the service says
    under the code that it says it by.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        attempts: int = 4,
        http: httpx.AsyncClient | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Prepares; calls nothing.

        Raises:
            ConfigError: the address or the key is none that a call could be made with.
        """
        self._url = checked_url(url)
        self._headers = {"Authorization": f"Bearer {checked_value(api_key, name='api_key')}"} if api_key else {}
        self._timeout_s = timeout_s
        self._patience = Patience(attempts=attempts)
        self._http = http or httpx.AsyncClient(trust_env=False)
        self._owns_http = http is None
        self._around = surroundings or Surroundings()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._owns_http:
            await self._http.aclose()

    health = _sends(calls.health)
    models = _sends(calls.models)
    queues = _sends(calls.queues)
    claim = _sends(calls.claim)
    content = _sends(calls.content)
    heartbeat = _sends(calls.heartbeat)
    release = _sends(calls.release)
    submit = _sends(calls.submit)
    post_run = _sends(calls.post_run)
    runs = _sends(calls.runs)
    run = _sends(calls.run)
    stop = _sends(calls.stop)
    redrive = _sends(calls.redrive)
    remarks = _sends(calls.remarks)
    results = _pages(calls.results)
    errors = _pages(calls.errors)
    samples = _sends(calls.samples)
    sample = _sends(calls.sample)

    async def pre_label(
        self,
        requests: Iterable[Request],
        *,
        labels: Sequence[str] = (),
        deadline_s: float | None = None,
        priority: Priority = "interactive",
        run: str | None = None,
    ) -> list[Result]:
        """Label items in as few calls as the service takes; one result for each, in order.

        An item that is too large for any call, or that the service cannot read, fails alone.

        Args:
            labels: keeps only annotations with these.
            deadline_s: how long the models have; no longer than the client waits.
            run: where the results are stored, each item's once; a new one if there is none.

        Raises:
            PrelabelError: the call has failed as a whole.
        """
        terms = Terms(run=run or calls.new_id(), labels=labels, priority=priority, deadline_s=deadline_s)
        ends = self._around.clock() + self._timeout_s
        found = list[Result]()
        for batch in batches(requests, items=_CALL_ITEMS, size_bytes=_CALL_BYTES):
            found += await self.labelled(batch, terms, ends=ends)
        return found

    async def stream(
        self,
        requests: Iterable[Request],
        *,
        labels: Sequence[str] = (),
        deadline_s: float | None = None,
        priority: Priority = "bulk",
        run: str | None = None,
        batch_items: int = BATCH_ITEMS,
        batch_bytes: int = BATCH_BYTES,
        calls_at_once: int = CALLS_AT_ONCE,
        progress: Progress | None = None,
    ) -> AsyncIterator[Result]:
        """Label a drop of any size; the results in order, as they come.

        The requests are asked for as they are sent, so that at most ``calls_at_once + 1`` batches are in memory. Each
        call has the client's ``timeout_s``, and all of them the same run.

        Args:
            progress: is told after each result what has come so far.

        Raises:
            PrelabelError: as of ``pre_label``; the results until there have been given. Sent again into the same
                ``run``, an item keeps the pre-label that was stored first.
        """
        terms = Terms(run=run or calls.new_id(), labels=labels, priority=priority, deadline_s=deadline_s)
        start = partial(self.begin, terms=terms)
        window = Window[Batch, asyncio.Task[list[Result]]](start, most=calls_at_once)
        tally = Tally()
        try:
            for call in window.over(batches(requests, items=batch_items, size_bytes=batch_bytes)):
                for result in await call:
                    tally = tally.plus(result)
                    if progress is not None:
                        progress(tally)
                    yield result
        finally:
            await asyncio.gather(*window.cancel(), return_exceptions=True)

    def begin(self, batch: Batch, terms: Terms) -> asyncio.Task[list[Result]]:
        return asyncio.create_task(self.labelled(batch, terms))

    async def wait(
        self, run_id: str, *, timeout_s: float | None = None, progress: Callable[[RunState], None] | None = None
    ) -> RunState:
        """How a run has ended; it is asked for every half second at first, and every ten seconds later.

        Raises:
            UnreachableError: timeout, it is not over after so many seconds.
        """
        ends = None if timeout_s is None else self._around.clock() + timeout_s
        for wait_s in _polls():
            state = await self.run(run_id)
            if progress is not None:
                progress(state)
            if state.status not in ("queued", "running"):
                return state
            if ends is not None and self._around.clock() + wait_s > ends:
                message = f"run '{run_id}' is {state.status} after {timeout_s} s; it goes on, wait again"
                raise UnreachableError("timeout", message)
            await self._around.sleep(wait_s)
        raise AssertionError("polls have no end")

    async def labelled(self, batch: Batch, terms: Terms, *, ends: float | None = None) -> list[Result]:
        """The results of a batch; what is refused for what stands in it is sent in halves, down to the item."""
        ends = self._around.clock() + self._timeout_s if ends is None else ends
        try:
            found = await self.send(calls.pre_label(batch, terms), ends=ends)
        except PrelabelError as err:
            if not is_of_the_items(err):
                raise
            if len(batch) == 1:
                return [_failed(batch[0], err)]
            one, other = halves(batch)
            return [*await self.labelled(one, terms, ends=ends), *await self.labelled(other, terms, ends=ends)]
        if len(found) != len(batch):
            raise AnswerError("bad_answer", f"{self._url} answered {len(found)} results to {len(batch)} items")
        return found

    async def send(self, call: Call[T], *, ends: float | None = None) -> T:
        """Make a call, again where that may help.

        Not stamina's loop: its waits know neither a Retry-After beside a jitter nor what is left of a deadline that the
        attempts share.

        Args:
            ends: when it must be done, by the client's clock; ``timeout_s`` from now if there is none.
        """
        ends = self._around.clock() + self._timeout_s if ends is None else ends
        for attempt in count(1):
            answer = await self._once(call, left_s=ends - self._around.clock())
            if not isinstance(answer, Trouble):
                return call.result(answer, url=self._url + call.path)
            wait_s = self._patience.wait_s(
                answer,
                attempt=attempt,
                is_repeatable=call.is_repeatable,
                left_s=ends - self._around.clock(),
                draw=self._around.draw(),
            )
            if wait_s is None:
                raise answer.error
            await self._around.sleep(wait_s)
        raise AssertionError("attempts have no end")

    async def _once(self, call: Call[T], *, left_s: float) -> bytes | Trouble:
        url = self._url + call.path
        try:
            async with asyncio.timeout(left_s):
                answer = await self._http.send(self._request(call, url, left_s=left_s))
        except TimeoutError as err:
            message = f"{url} has not answered within {self._timeout_s} s; raise timeout_s, or send fewer items"
            raise UnreachableError("timeout", message) from err
        except (httpx.RequestError, httpx.InvalidURL) as err:
            return trouble_of_transport(err, url=url)
        now = self._around.now()
        return trouble_of(answer.status_code, answer.headers, answer.content, now=now, url=url) or answer.content

    def _request(self, call: Call[T], url: str, *, left_s: float) -> httpx.Request:
        content, timeout = call.content(left_s=left_s), httpx.Timeout(None, connect=_CONNECT_S)
        build = partial(self._http.build_request, call.method, url, params=call.query, timeout=timeout)
        if content is None:
            return build(headers=self._headers)
        if call.parts:
            return build(headers=self._headers, files=form(content, call.parts))
        return build(headers=self._headers | {"Content-Type": "application/json"}, content=content)


def _failed(request: Request, err: PrelabelError) -> Result:
    failure = Failure(code=err.code, message=err.message)
    return Result(id=request.item.id, task=request.task, status="failed", error=failure)


def _polls() -> Iterator[float]:
    wait_s = _FIRST_POLL_S
    while True:
        yield wait_s
        wait_s = min(wait_s * 1.5, _LONGEST_POLL_S)
