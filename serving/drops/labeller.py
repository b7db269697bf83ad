"""Labels items in a process of its own: what an actor of the cluster holds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from models.types import Task
from pipelines.batch import FlowLabels
from pipelines.local import LocalModels
from pipelines.policy.in_force import Pinned
from pipelines.prelabel import Request
from pipelines.recent import Recent
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from pipelines.types import Outcome
from serving.drops.fingerprint import fingerprint
from serving.service import flow_over
from serving.settings import Settings

_LOOK_S = 1.0
_HUNG = 70  # exit status


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the workers of a run have in common; each of them must reach the store."""

    settings: Settings
    task: Task
    run_id: str
    store_url: str
    pinned: Pinned


class Labeller:
    """The models of a task and the flow over them, as in every other process.

    It reads the store, for what the run knows already, and leaves the writing to the one that holds the run.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._models = LocalModels(job.settings.cards, job.settings.lock_file, job.settings.media)
        self._open = AsyncExitStack()
        self._labels: FlowLabels | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, str]:
        """Load the models; what they are.

        Raises:
            ModelError: a model cannot be loaded here.
        """
        settings, task = self._job.settings, self._job.task
        digests = fingerprint(settings, self._models, task, policy_id=self._job.pinned.policy_id)  # loads them
        store = await self._open.enter_async_context(Store.open(self._job.store_url, pool_size=1, is_current=True))
        flow = await self._open.enter_async_context(
            flow_over(settings, self._models, store, pinned={task: self._job.pinned})
        )
        recent = Recent(partial(Drops(store).known, self._job.run_id))
        self._labels = FlowLabels(flow, at_once=1, recent=recent)  # the pool says how many it gets
        self._watching = asyncio.create_task(self._watch())
        return digests

    async def label(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes, in order; a failure is an outcome."""
        if self._labels is None:
            raise RuntimeError("the worker has not been started")
        return list(await asyncio.gather(*map(self._labels.label, requests)))

    async def _watch(self) -> None:
        """End the process when a pass hangs or the device is lost, so that another one takes its place."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._models.are_ready()
            except RuntimeError:
                os._exit(_HUNG)
