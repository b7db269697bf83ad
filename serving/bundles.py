"""Sends items that are asked for at the same moment to a model in one call: a call costs more than a short text."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from models.errors import ItemError, PrelabelError
from models.types import Content, Prediction, Priority

logger = logging.getLogger(__name__)

Answer = Prediction | PrelabelError

_MOST_BYTES = (
    256 * 1024
)  # beyond it an item travels alone: the call's price is small beside it, and replicas share better


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One item as it crosses to a replica; ``deadline_s`` counts from when it was sent."""

    content: Content
    priority: Priority
    deadline_s: float | None


Send = Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]]


@dataclass(slots=True, kw_only=True)
class _Bundle:
    """Items of one call: those gathered until it is sent, and how many are still waited for."""

    asked: list[Asked] = field(default_factory=list)
    answers: list[asyncio.Future[Answer]] = field(default_factory=list)
    size: int = 0
    call: asyncio.Task[None] | None = None


class Bundles:
    """Gathers what is asked within one turn of the event loop, at most ``most_items`` to a call.

    The call ends early when nobody waits for any of its items any more.
    """

    def __init__(self, send: Send, *, most_items: int) -> None:
        """
        Args:
            send: makes one call; answers in the items' order. What it raises, each of its items raises.
            most_items: of a call, so that replicas share the work of a large one.
        """
        self._send, self._most_items = send, most_items
        self._open: _Bundle | None = None

    async def ask(self, asked: Asked) -> Answer:
        """The answer to one item."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        bundle = self._bundle_for(len(asked.content.data))
        bundle.asked.append(asked)
        bundle.answers.append(answer)
        bundle.size += len(asked.content.data)
        try:
            return await answer
        finally:
            if bundle.call is not None and all(answer.done() for answer in bundle.answers):
                bundle.call.cancel()  # does nothing when it has ended

    def _bundle_for(self, size: int) -> _Bundle:
        bundle = self._open
        if bundle is None or len(bundle.asked) >= self._most_items or bundle.size + size > _MOST_BYTES:
            bundle = self._open = _Bundle()
            asyncio.get_running_loop().call_soon(self._start, bundle)
        return bundle

    def _start(self, bundle: _Bundle) -> None:
        if self._open is bundle:
            self._open = None
        if not all(answer.done() for answer in bundle.answers):
            bundle.call = asyncio.ensure_future(self._call(bundle))

    async def _call(self, bundle: _Bundle) -> None:
        try:
            answers = await self._send(bundle.asked)
        except PrelabelError as err:
            answers = [err] * len(bundle.asked)
        except Exception as err:
            logger.exception("a call to a model failed unexpectedly")
            answers = [ItemError("model_failed", f"the call to the model failed: {type(err).__name__}")] * len(
                bundle.asked
            )
        for future, answer in zip(bundle.answers, answers, strict=True):
            if not future.done():
                future.set_result(answer)
