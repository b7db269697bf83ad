"""Keeps a bounded number of calls in flight, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Cancellable(Protocol):
    """A task of asyncio, or a future of a thread."""

    def cancel(self) -> bool: ...


B = TypeVar("B")
H = TypeVar("H", bound=Cancellable)


class Window(Generic[B, H]):
    """Starts calls as long as fewer than ``most`` are waited for."""

    def __init__(self, start: Callable[[B], H], *, most: int) -> None:
        self._start, self._most = start, most
        self._waiting: deque[H] = deque()

    def over(self, batches: Iterable[B]) -> Iterator[H]:
        """The calls for the batches, in order; while one is waited for, the next ones are in flight."""
        for batch in batches:
            self._waiting.append(self._start(batch))
            if len(self._waiting) >= self._most:
                yield from self._first()
        while self._waiting:
            yield from self._first()

    def cancel(self) -> list[H]:
        """Cancel what nobody waits for any more."""
        left = list(self._waiting)
        self._waiting.clear()
        for call in left:
            call.cancel()
        return left

    def _first(self) -> Iterator[H]:
        yield self._waiting[0]  # which stays until it is done with, so that it can be cancelled
        self._waiting.popleft()
