"""Computes identical work once: what is in flight is shared, what is kept is read."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter

from models.errors import ItemError, PrelabelError
from models.types import Content, Prediction, Priority, Prompts
from pipelines.prelabel import Models
from pipelines.types import ModelUse

_PROMPTS = TypeAdapter(Prompts)
_Key = tuple[str, str, Prompts, Priority]


@dataclass(slots=True, kw_only=True)
class _Shared:
    """One computation and how many wait for it."""

    task: asyncio.Task[Prediction]
    waiting: int = 0


class SharedModels:
    """Models that answer equal questions, asked at the same time, by one computation.

    Equal are the model, the content's digest and prompts, and the priority, so that nobody who waits is held up behind
    a drop. The computation ends when the last who waits for it has left. Somebody who has more time than the first had
    asks again when that time is over.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._in_flight: dict[_Key, _Shared] = {}

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        if content.digest is None:
            return await self._models.predict(model, content, priority=priority, deadline_s=deadline_s)
        key = (model, content.digest, content.prompts, priority)
        loop = asyncio.get_running_loop()
        deadline = None if deadline_s is None else loop.time() + deadline_s
        while (shared := self._in_flight.get(key)) is not None:
            try:
                return await self._wait(key, shared)
            except ItemError as err:
                if err.code != "timeout" or (deadline is not None and deadline <= loop.time()):
                    raise
        remaining_s = None if deadline is None else deadline - loop.time()
        return await self._wait(key, self._start(key, content, deadline_s=remaining_s))

    def use_of(self, model: str) -> ModelUse:
        return self._models.use_of(model)

    def _start(self, key: _Key, content: Content, *, deadline_s: float | None) -> _Shared:
        model, _, _, priority = key
        task = asyncio.ensure_future(self._models.predict(model, content, priority=priority, deadline_s=deadline_s))
        shared = self._in_flight[key] = _Shared(task=task)
        task.add_done_callback(lambda _: self._forget(key, shared))
        return shared

    async def _wait(self, key: _Key, shared: _Shared) -> Prediction:
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                self._forget(key, shared)  # at once: who comes now must not wait for what is being cancelled
                shared.task.cancel()

    def _forget(self, key: _Key, shared: _Shared) -> None:
        if self._in_flight.get(key) is shared:
            del self._in_flight[key]


class Keeps(Protocol):
    """What remembers answers (pipelines/store/results.py)."""

    async def find(self, question: str) -> Prediction | None: ...

    async def keep(self, question: str, prediction: Prediction) -> None: ...


class KeptModels:
    """Models whose answers are kept and given again to the same question: content, prompts, weights, configuration.

    An answer that was kept without an embedding is no answer for a model that embeds, and is replaced.
    """

    def __init__(self, models: Models, kept: Keeps) -> None:
        self._models, self._kept = models, kept

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        use = self._models.use_of(model)
        question = _question(use, content)
        known = await self._kept.find(question)
        if known is not None and (known.embedding is not None or not use.embeds):
            return known
        prediction = await self._models.predict(model, content, priority=priority, deadline_s=deadline_s)
        with suppress(PrelabelError):  # the answer is here; that it cannot be kept is no reason to withhold it
            await self._kept.keep(question, prediction)
        return prediction

    def use_of(self, model: str) -> ModelUse:
        return self._models.use_of(model)


def _question(use: ModelUse, content: Content) -> str:
    """A digest of all that shapes the answer."""
    digest = content.digest or hashlib.sha256(content.data).hexdigest()
    parts = (use.weights_digest, use.config_digest, content.media, digest, _PROMPTS.dump_json(content.prompts).decode())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
