"""Labels a manifest of texts by an engine whose every forward pass leaves its items in a file; made to be killed."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from models.card import BatchLimits
from models.engine import Engine
from models.types import Annotation, Content, Payload, Prediction, Priority, Task, TextPayload, TextSpan
from pipelines.batch import Batch, FlowLabels
from pipelines.errors import ConflictError
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.policy import ThresholdPolicy
from pipelines.prelabel import Flow
from pipelines.recent import Recent
from pipelines.sources import open_source
from pipelines.store.drops import Drops
from pipelines.store.embedded import embedded_postgres, revive
from pipelines.store.store import Store
from pipelines.tasks import TaskCard
from pipelines.types import ModelUse

BATCH, AT_ONCE = 8, 32
_PASS_S = 0.02
_USE = ModelUse(name="logging", version="1", weights_digest="w", config_digest="c")


@dataclass(frozen=True)
class Sample:
    text: str
    cost: float = 1.0


class Logging:
    """A model that marks the whole text, takes its time, and writes down what it computes before it does."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def prepare(self, payloads: Sequence[Payload]) -> list[Sample]:
        return [Sample(payload.text) for payload in payloads if isinstance(payload, TextPayload)]

    def forward(self, batch: Sequence[Sample]) -> list[str]:
        os.write(self._log, "".join(f"{sample.text}\n" for sample in batch).encode())
        time.sleep(_PASS_S)
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


async def drive(url: str, run_id: str, manifest: Path, log: Path, folder: Path) -> None:
    engine = Engine(Logging(log), decode=decode, limits=BatchLimits(max_items=BATCH))
    tasks: Mapping[Task, TaskCard] = {"ner": TaskCard(task="ner", models=("logging",))}
    policies: Mapping[Task, ThresholdPolicy] = {"ner": ThresholdPolicy(queue="texts", accept_score=0.95)}
    async with Store.open(url) as store, Fetcher(FetchPolicy()) as fetcher:
        flow = Flow(
            fetcher=fetcher,
            models=OneModel(engine),
            tasks=tasks,
            policies=policies,
            store=store,
            clock=lambda: datetime.now(UTC),
        )
        drops = Drops(store)
        with suppress(ConflictError):  # it was begun before
            await drops.begin(run_id, name="drop", task="ner", source={}, fingerprint={})
        async with drops.hold(run_id, worker=str(os.getpid())) as attempt:
            batch = Batch(
                run_id,
                "ner",
                source=open_source(str(manifest), "ner", policy=FetchPolicy(roots=(manifest.parent,))),
                store=store,
                labels=FlowLabels(flow, at_once=AT_ONCE, recent=Recent(partial(drops.known, run_id))),
                attempt=attempt,
                revive=partial(revive, folder),
            )
            print("ready", flush=True)
            await store.finish_run(run_id, status=await batch.work())
    await engine.close()


def main() -> None:
    folder, run_id, manifest, log = sys.argv[1:]
    with embedded_postgres(Path(folder)) as url:
        asyncio.run(drive(url, run_id, Path(manifest), Path(log), Path(folder)))


if __name__ == "__main__":
    main()
