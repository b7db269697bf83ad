"""Labels a run's items by the deployed models, which others use, too, and which come back when they die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from models.errors import ModelError
from pipelines.batch import Labels
from pipelines.prelabel import Request
from pipelines.types import Failed, Outcome

_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 2.0)  # before a full queue is tried again; then the item is failed for a while


class Examination:
    """Lets items that a replica has died with be labelled one at a time, and no other begin meanwhile.

    All runs of a worker share one, for they share the replicas.
    """

    def __init__(self) -> None:
        self.is_over = asyncio.Event()
        self.is_over.set()
        self._suspects, self._turn = 0, asyncio.Lock()

    @asynccontextmanager
    async def of_one(self) -> AsyncIterator[None]:
        """The turn of one item."""
        self._suspects += 1
        self.is_over.clear()
        try:
            async with self._turn:
                yield
        finally:
            self._suspects -= 1
            if not self._suspects:
                self.is_over.set()


class ServedLabels:
    """The Labels of a batch, as a service works on it.

    A full queue is waited for. What a replica had in hand when it died is labelled again, one item at a time and while
    no other of the worker's runs is begun, so that the one which kills replicas fails alone and costs two of them. A
    model that is stopped for good ends the run, for every other item would fail, too.
    """

    def __init__(self, labels: Labels, examination: Examination) -> None:
        self._labels, self._examination = labels, examination

    @property
    def at_once(self) -> int:
        return self._labels.at_once

    async def label(self, request: Request) -> Outcome:
        """What became of an item.

        Raises:
            ModelError: a model is stopped (model_stopped).
        """
        await self._examination.is_over.wait()
        outcome = await self._with_room(request)
        if _code(outcome) == "worker_lost":
            outcome = await self._alone(request)
        if isinstance(outcome, Failed) and outcome.failure.code == "model_stopped":
            raise ModelError("model_stopped", outcome.failure.message)
        return outcome

    async def _with_room(self, request: Request) -> Outcome:
        outcome = await self._labels.label(request)
        for pause_s in _PAUSES_S:
            if _code(outcome) != "overloaded":
                break
            await asyncio.sleep(pause_s)
            outcome = await self._labels.label(request)
        return outcome

    async def _alone(self, request: Request) -> Outcome:
        """Label an item that a replica has died with."""
        async with self._examination.of_one():
            outcome = await self._with_room(request)
        return _killer(outcome) if _code(outcome) == "worker_lost" and isinstance(outcome, Failed) else outcome


def _code(outcome: Outcome) -> str | None:
    return outcome.failure.code if isinstance(outcome, Failed) else None


def _killer(failed: Failed) -> Failed:
    """The failure of an item that is not tried a third time."""
    message = "a replica of the model died with this item twice, the second time alone; the item may be the cause"
    return replace(failed, failure=replace(failed.failure, code="model_failed", message=message))
