"""Labels a manifest of texts by engines whose every forward pass leaves its items in a file; made to be killed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from models.card import BatchLimits
from models.engine import Engine
from models.types import Annotation, Content, Payload, Prediction, Priority, Task, TextPayload, TextSpan
from pipelines.batch import Batch, FlowLabels, Labels
from pipelines.errors import ConflictError
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.policy import ThresholdPolicy
from pipelines.prelabel import Flow, Request
from pipelines.recent import Recent
from pipelines.sources import open_source
from pipelines.store.drops import Drops
from pipelines.store.embedded import embedded_postgres, revive
from pipelines.store.store import Store
from pipelines.tasks import TaskCard
from pipelines.types import ModelUse, Outcome
from pipelines.workers.pool import Crew, WorkerPool
from serving.local_cluster import local_cluster
from serving.ray_flags import COMMON
from tests.pipelines.nodes import simulated_nodes

BATCH, AT_ONCE = 8, 32
POISON = "arsenic"  # a text with it kills the process that labels it
_PASS_S, _SLOW_PASS_S = 0.02, 0.08  # slow where a second node's worker has to come in time
_USE = ModelUse(name="logging", version="1", weights_digest="w", config_digest="c")


@dataclass(frozen=True)
class Sample:
    text: str
    cost: float = 1.0


class Logging:
    """A model that marks the whole text, takes its time, and writes down what it computes before it does."""

    def __init__(self, log: Path, *, pass_s: float) -> None:
        self._pass_s = pass_s
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def prepare(self, payloads: Sequence[Payload]) -> list[Sample]:
        return [Sample(payload.text) for payload in payloads if isinstance(payload, TextPayload)]

    def forward(self, batch: Sequence[Sample]) -> list[str]:
        if any(POISON in sample.text for sample in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(self._log, "".join(f"{sample.text}\n" for sample in batch).encode())
        time.sleep(self._pass_s)
        return [sample.text for sample in batch]

    def read(self, raw: list[str], payloads: Sequence[Payload]) -> list[Prediction]:
        spans = (TextSpan(start=0, end=len(text)) for text in raw)
        annotations = (Annotation(id="0", label="text", geometry=span, score=0.9) for span in spans)
        return [Prediction(annotations=(found,), signals={"min_score": 0.9, "no_miss": 0.9}) for found in annotations]


class OneModel:
    """An engine as the flow's models."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        return await self._engine.predict(content, priority=priority, deadline_s=deadline_s)

    def use_of(self, model: str) -> ModelUse:
        return _USE


def decode(content: Content) -> Payload:
    return TextPayload(text=content.data.decode())


@asynccontextmanager
async def engine_flow(drop: Drop, store: Store) -> AsyncIterator[Flow]:
    engine = Engine(Logging(drop.log, pass_s=drop.pass_s), decode=decode, limits=BatchLimits(max_items=BATCH))
    tasks: Mapping[Task, TaskCard] = {"ner": TaskCard(task="ner", models=("logging",))}
    policies: Mapping[Task, ThresholdPolicy] = {"ner": ThresholdPolicy(queue="texts", accept_score=0.95)}
    async with Fetcher(FetchPolicy()) as fetcher:
        yield Flow(
            fetcher=fetcher,
            models=OneModel(engine),
            tasks=tasks,
            policies=policies,
            store=store,
            clock=lambda: datetime.now(UTC),
        )
    await engine.close()


@dataclass(frozen=True)
class Drop:
    """What the driver works on, and where its workers note their process ids."""

    url: str
    run_id: str
    manifest: Path
    log: Path
    pass_s: float

    driver: int

    def note(self, pid: int) -> None:
        """Say who works for this driver."""
        with self.log.with_suffix(f".{self.driver}").open("a") as file:
            file.write(f"{pid}\n")

    def labels(self, flow: Flow, store: Store) -> FlowLabels:
        return FlowLabels(flow, at_once=AT_ONCE, recent=Recent(partial(Drops(store).known, self.run_id)))


class LoggingLabeller:
    """The flow over a logging engine, in an actor."""

    def __init__(self, drop: Drop) -> None:
        self._drop, self._open = drop, AsyncExitStack()
        self._labels: FlowLabels

    async def start(self) -> dict[str, str]:
        store = await self._open.enter_async_context(Store.open(self._drop.url, pool_size=1, is_current=True))
        flow = await self._open.enter_async_context(engine_flow(self._drop, store))
        self._labels = self._drop.labels(flow, store)
        self._drop.note(os.getpid())
        return {"logging": "w"}

    async def label(self, requests: Sequence[Request]) -> list[Outcome]:
        return list(await asyncio.gather(*map(self._labels.label, requests)))


@asynccontextmanager
async def labels_here(drop: Drop, store: Store) -> AsyncIterator[Labels]:
    async with engine_flow(drop, store) as flow:
        yield drop.labels(flow, store)


@asynccontextmanager
async def labels_of_workers(drop: Drop, *, workers: int) -> AsyncIterator[Labels]:
    from pipelines.workers.needs import Needs
    from pipelines.workers.ray_worker import RayWorker

    needs = Needs(cpus=1.0, gpus=0.0)
    pool = WorkerPool(lambda: RayWorker(LoggingLabeller, needs, drop), Crew(most=lambda: workers, batch_items=BATCH))
    try:
        await pool.start()
        yield pool
    finally:
        await pool.close()


async def drive(drop: Drop, folder: Path, *, workers: int) -> None:
    async with Store.open(drop.url) as store:
        drops = Drops(store)
        with suppress(ConflictError):  # it was begun before
            await drops.begin(drop.run_id, name="drop", task="ner", source={}, fingerprint={})
        async with (
            drops.hold(drop.run_id, worker=str(os.getpid())) as attempt,
            labels_of_workers(drop, workers=workers) if workers else labels_here(drop, store) as labels,
        ):
            batch = Batch(
                drop.run_id,
                "ner",
                source=open_source(str(drop.manifest), "ner", policy=FetchPolicy(roots=(drop.manifest.parent,))),
                store=store,
                labels=labels,
                attempt=attempt,
                revive=partial(revive, folder),
            )
            print("ready", flush=True)
            await store.finish_run(drop.run_id, status=await batch.work())


def main() -> None:
    folder, run_id, manifest, log, workers, nodes = sys.argv[1:]
    with embedded_postgres(Path(folder)) as url, cluster(int(workers), nodes=int(nodes), log=Path(log)):
        drop = Drop(url, run_id, Path(manifest), Path(log), _SLOW_PASS_S if int(nodes) > 1 else _PASS_S, os.getpid())
        asyncio.run(drive(drop, Path(folder), workers=int(workers)))


def cluster(workers: int, *, nodes: int, log: Path) -> AbstractContextManager[None]:
    """What the workers run on: nothing, this machine, or simulated nodes with room for one worker each."""
    if workers == 0:
        return nullcontext()
    os.environ.update(COMMON)  # before Ray is imported
    return noted_nodes(nodes, log) if nodes > 1 else local_cluster(num_cpus=workers)


@contextmanager
def noted_nodes(nodes: int, log: Path) -> Iterator[None]:
    """Simulated nodes of which the last one's process is noted."""
    import ray

    with simulated_nodes(nodes) as started:
        log.with_suffix(".node").write_text(str(started.pids[-1]))
        ray.init(started.address, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
