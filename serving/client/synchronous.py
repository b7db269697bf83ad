"""Calls the service from ordinary code: the asynchronous client, driven from a thread of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, suppress
from functools import partial, wraps
from threading import Lock
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from models.types import Priority
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from serving.client import calls
from serving.client.asynchronous import BATCH_BYTES, BATCH_ITEMS, CALLS_AT_ONCE, AsyncClient
from serving.client.batch import Batch, batches
from serving.client.calls import Terms
from serving.client.surroundings import Surroundings
from serving.client.tally import Progress, Tally
from serving.client.window import Window

P = ParamSpec("P")
T = TypeVar("T")


def _blocks(method: Callable[Concatenate[AsyncClient, P], Awaitable[T]]) -> Callable[Concatenate[Client, P], T]:
    """The asynchronous client's method, waited for."""

    @wraps(method)
    def blocking(self: Client, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.portal().call(partial(method, self.asynchronous, *args, **kwargs))

    return blocking


def _iterates(
    method: Callable[Concatenate[AsyncClient, P], AsyncIterator[T]],
) -> Callable[Concatenate[Client, P], Iterator[T]]:
    """What the asynchronous client's method gives, one after another."""

    @wraps(method)
    def iterating(self: Client, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        entries = method(self.asynchronous, *args, **kwargs)
        while True:
            try:
                yield self.portal().call(anext, entries)
            except StopAsyncIteration:
                return

    return iterating


class Client:
    """A service, from ordinary code; any number of threads may use it at once.

    Closing it, or leaving its ``with``, ends the thread that its calls are made in, which the first call begins. See
    AsyncClient for what the arguments mean and how calls are repeated.
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
        self.asynchronous = AsyncClient(
            url, api_key=api_key, timeout_s=timeout_s, attempts=attempts, http=http, surroundings=surroundings
        )
        self._lock, self._open = Lock(), ExitStack()
        self._portal: BlockingPortal | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the calls' thread, and what is in flight with it; the client makes no calls afterwards."""
        with self._lock:
            self._is_closed = True
            if self._portal is not None:
                self._portal.call(self.asynchronous.aclose)
                with suppress(CancelledError):  # of this very call, which is one of those that it ends
                    self._portal.call(self._portal.stop, True)
            self._portal = None
            self._open.close()

    def portal(self) -> BlockingPortal:
        """The way into the calls' thread.

        Raises:
            RuntimeError: the client is closed.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the client is closed; make another one")
            if self._portal is None:
                self._portal = self._open.enter_context(start_blocking_portal(name="prelabel-client"))
            return self._portal

    health = _blocks(AsyncClient.health)
    models = _blocks(AsyncClient.models)
    queues = _blocks(AsyncClient.queues)
    claim = _blocks(AsyncClient.claim)
    content = _blocks(AsyncClient.content)
    heartbeat = _blocks(AsyncClient.heartbeat)
    release = _blocks(AsyncClient.release)
    submit = _blocks(AsyncClient.submit)
    post_run = _blocks(AsyncClient.post_run)
    runs = _blocks(AsyncClient.runs)
    run = _blocks(AsyncClient.run)
    stop = _blocks(AsyncClient.stop)
    redrive = _blocks(AsyncClient.redrive)
    remarks = _blocks(AsyncClient.remarks)
    wait = _blocks(AsyncClient.wait)
    results = _iterates(AsyncClient.results)
    errors = _iterates(AsyncClient.errors)
    samples = _blocks(AsyncClient.samples)
    sample = _blocks(AsyncClient.sample)
    pre_label = _blocks(AsyncClient.pre_label)

    def stream(
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
    ) -> Iterator[Result]:
        """Label a drop of any size, as AsyncClient does; the requests are read in the caller's thread."""
        terms = Terms(run=run or calls.new_id(), labels=labels, priority=priority, deadline_s=deadline_s)
        window = Window[Batch, Future[list[Result]]](partial(self._begin, terms=terms), most=calls_at_once)
        tally = Tally()
        try:
            for call in window.over(batches(requests, items=batch_items, size_bytes=batch_bytes)):
                for result in call.result():
                    tally = tally.plus(result)
                    if progress is not None:
                        progress(tally)
                    yield result
        finally:
            window.cancel()

    def _begin(self, batch: Batch, *, terms: Terms) -> Future[list[Result]]:
        return self.portal().start_task_soon(self.asynchronous.labelled, batch, terms)
