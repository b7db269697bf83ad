"""Labels a drop of numbers on workers whose model only sleeps, and says on which nodes that was done."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

import ray

from benchmarks.sleeper import MAX_ITEMS, Sleeps
from models.card import BatchLimits
from models.engine import Engine
from models.types import Content, Item, Prediction, Priority, TextPayload
from pipelines.batch import Batch, FlowLabels
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.policy import ThresholdPolicy
from pipelines.prelabel import Flow, Request
from pipelines.recent import Recent
from pipelines.sources import open_source
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from pipelines.tasks import TaskCard
from pipelines.types import Labelled, ModelUse, Outcome
from pipelines.workers.needs import Needs
from pipelines.workers.pool import Crew, WorkerPool
from pipelines.workers.ray_worker import RayWorker

NEEDS = Needs(cpus=1.0, gpus=0.0)
_START_S = 120.0
_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What one run came to: items per second from the first item listed to the last outcome stored, and by node."""

    items_per_s: float
    seconds: float
    items_by_node: Mapping[str, int]


class SleepingModels:
    """One engine over the sleeping model, as the flow's models; its version is the node that it runs on."""

    def __init__(self, node: str) -> None:
        limits = BatchLimits(max_items=MAX_ITEMS)
        self.engine = Engine(Sleeps(), decode=lambda c: TextPayload(text=c.data.decode()), limits=limits)
        self._use = ModelUse(name="sleeping", version=node, weights_digest="none", config_digest="none")

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        return await self.engine.predict(content, priority=priority, deadline_s=deadline_s)

    def use_of(self, model: str) -> ModelUse:
        return self._use


class SleepingLabeller:
    """What an actor holds, as serving/drops/labeller.py has it: the flow over the model, and the store."""

    def __init__(self, store_url: str, run_id: str) -> None:
        self._store_url, self._run_id, self._open = store_url, run_id, AsyncExitStack()
        self._models = SleepingModels(ray.get_runtime_context().get_node_id())
        self._labels: FlowLabels

    async def start(self) -> dict[str, str]:
        store = await self._open.enter_async_context(Store.open(self._store_url, pool_size=1, is_current=True))
        fetcher = await self._open.enter_async_context(Fetcher(FetchPolicy()))
        flow = Flow(
            fetcher=fetcher,
            models=self._models,
            tasks={"ner": TaskCard(task="ner", models=("sleeping",))},
            policies={"ner": ThresholdPolicy(queue="texts", accept_score=0.5)},
            store=store,
            clock=lambda: datetime.now(UTC),
        )
        self._labels = FlowLabels(flow, at_once=1, recent=Recent(partial(Drops(store).known, self._run_id)))
        return {"sleeping": "none"}

    async def label(self, requests: Sequence[Request]) -> list[Outcome]:
        return list(await asyncio.gather(*map(self._labels.label, requests)))


async def run(store_url: str, manifest: Path, *, workers: int) -> Labelling:
    """Label a manifest once so many workers are there; their start is not in the figure.

    Raises:
        RuntimeError: the workers do not start, or an item has no outcome.
    """
    run_id = uuid.uuid4().hex[:12]
    crew = Crew(most=lambda: workers, batch_items=MAX_ITEMS)
    pool = WorkerPool(lambda: RayWorker(SleepingLabeller, NEEDS, store_url, run_id), crew)
    async with Store.open(store_url) as store:
        try:
            await pool.start()
            await _all_there(pool, workers)
            await Drops(store).begin(run_id, name="sleep", task="ner", source={}, fingerprint={})
            async with Drops(store).hold(run_id, worker="benchmark") as attempt:
                source = open_source(str(manifest), "ner", policy=FetchPolicy(roots=(manifest.parent,)))
                batch = Batch(run_id, "ner", source=source, store=store, labels=pool, attempt=attempt)
                await store.finish_run(run_id, status=await batch.work())
        finally:
            await pool.close()
        by_node = Counter([node async for node in _nodes(store, run_id)])
    if batch.progress.failed or sum(by_node.values()) != batch.progress.listed:
        raise RuntimeError(f"of {batch.progress.listed} items {batch.progress.failed} failed; by node: {by_node}")
    seconds = batch.progress.elapsed_s
    return Labelling(items_per_s=batch.progress.listed / seconds, seconds=seconds, items_by_node=by_node)


def write_manifest(file: Path, items: int) -> Path:
    """A manifest of so many numbers as texts."""
    file.write_text("".join(f"{json.dumps({'id': str(n), 'text': str(n)})}\n" for n in range(items)), encoding="utf-8")
    return file


async def _all_there(pool: WorkerPool, workers: int) -> None:
    """Have the pool grow, as it does when more waits than one worker has room for, until every worker is ready."""
    numbers = count(1)

    async def label() -> None:
        number = str(-next(numbers))  # of no item of the run
        await pool.label(Request(item=Item(id=number, media="text", text=number), task="ner"))

    async with asyncio.timeout(_START_S):
        while pool.workers < workers:
            await asyncio.gather(*(label() for _ in range(workers * 4 * MAX_ITEMS)))


async def _nodes(store: Store, run_id: str) -> AsyncIterator[str]:
    """The node that labelled it, for each item of the run."""
    after = 0
    while page := await store.results(run_id, after=after, limit=_PAGE):
        for result in page:
            if isinstance(result.outcome, Labelled):
                yield result.outcome.pre_label.provenance.model_version
        after = page[-1].position
