"""Labels drops by one version of a model, as the batch job does: a manifest, the flow, the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.active_loop.subject import SOURCE, Example, Subject
from models.card import ModelCard, read_card
from models.media import MediaLimits
from models.types import Content, Item, Prediction, Priority
from pipelines.batch import Batch, FlowLabels
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.local import LocalModels
from pipelines.policy.conditions import Conditions
from pipelines.policy.in_force import InForce
from pipelines.prelabel import Flow, Models, Request, pre_label_all
from pipelines.recent import Recent
from pipelines.sources import open_source
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from pipelines.tasks import TaskCard
from pipelines.types import Labelled, ModelUse, Outcome

_AT_ONCE, _PAGE = 96, 1_000


class _Remembering:
    """Models that are asked once about each content: a drop is drafted and then routed by the same one."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._said = dict[str | None, Prediction]()  # by digest; the flow takes it first

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        if (known := self._said.get(content.digest)) is not None:
            return known
        said = await self._models.predict(model, content, priority=priority, deadline_s=deadline_s)
        self._said[content.digest] = said
        return said

    def use_of(self, model: str) -> ModelUse:
        return self._models.use_of(model)


class _Nowhere:
    """Keeps nothing: what a model is held against is no part of what it labels."""

    def check_room(self) -> None: ...

    async def save(self, outcomes: Sequence[Outcome], *, run_id: str | None, begin_by: float | None) -> list[Outcome]:
        return list(outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """One version of a model, at work on a store."""

    subject: Subject
    store: Store
    flow: Flow
    use: ModelUse
    folder: Path

    @property
    def conditions(self) -> Conditions:
        standards = self.flow.standards
        return Conditions(
            chain=(str(self.use),),
            config_digest=self.use.config_digest,
            rules_digest=standards.rules_digest,
            ontology_digest=standards.ontology_digest,
        )

    async def label(self, run_id: str, examples: Sequence[Example]) -> list[Labelled]:
        """Label a drop in a run of its own, under what is in force; its outcomes as they were stored."""
        task, drops = self.subject.task, Drops(self.store)
        manifest = _manifest(self.folder, run_id, examples)
        source = open_source(str(manifest), task, policy=_may_open(self.folder))
        await drops.begin(run_id, name=source.name, task=task, source=source.identity(), fingerprint={})
        labels = FlowLabels(self.flow, at_once=_AT_ONCE, recent=Recent(partial(drops.known, run_id)))
        async with drops.hold(run_id, worker="the loop") as attempt:
            status = await Batch(run_id, task, source=source, store=self.store, labels=labels, attempt=attempt).work()
            await self.store.finish_run(run_id, status=status)
        return await self._stored(run_id)

    async def try_out(self, name: str, examples: Sequence[Example]) -> list[Labelled]:
        """What the model says of these, and what would be decided; nothing is stored."""
        source = open_source(
            str(_manifest(self.folder, name, examples)), self.subject.task, policy=_may_open(self.folder)
        )
        requests = [
            Request(item=entry, task=self.subject.task) for entry in source.entries() if isinstance(entry, Item)
        ]
        outcomes = await pre_label_all(requests, replace(self.flow, store=_Nowhere()), priority="bulk")
        return _all_labelled(outcomes)

    async def _stored(self, run_id: str) -> list[Labelled]:
        found, after = list[Outcome](), 0
        while page := await self.store.results(run_id, after=after, limit=_PAGE):
            found += [result.outcome for result in page]
            after = page[-1].position
        return _all_labelled(found)


@asynccontextmanager
async def labelling(
    subject: Subject, store: Store, in_force: InForce, *, weights: Path, version: int, folder: Path
) -> AsyncIterator[Labelling]:
    """A version of the subject's model, loaded until the context ends."""
    card = _card(subject, weights, version)
    models = LocalModels({card.name: card}, folder / "no.lock", MediaLimits())
    try:
        async with Fetcher(_may_open(folder)) as fetcher:
            use = await asyncio.to_thread(models.use_of, card.name)
            flow = Flow(
                fetcher=fetcher,
                models=_Remembering(models),
                tasks={subject.task: TaskCard(task=subject.task, models=(card.name,))},
                policies=in_force.policies,
                calibrations=in_force.calibrations,
                store=store,
                clock=lambda: datetime.now(UTC),
            )
            yield Labelling(subject=subject, store=store, flow=flow, use=use, folder=folder)
    finally:
        await models.close()


def _card(subject: Subject, weights: Path, version: int) -> ModelCard:
    """The demo's card over other weights; embeddings are what sampling compares items by."""
    card = read_card(subject.base / "card.yaml")
    return replace(card, weights=str(weights), version=str(version), embeddings=True, device="cpu")


def _may_open(folder: Path) -> FetchPolicy:
    return FetchPolicy(roots=(folder,))


def _manifest(folder: Path, name: str, examples: Iterable[Example]) -> Path:
    """Write what a drop is made of: a row for each item, and the images that rows name."""
    file = folder / f"{name}.jsonl"
    with file.open("w", encoding="utf-8") as opened:
        for example in examples:
            opened.write(json.dumps({"id": example.id, SOURCE: example.part} | _content(folder, example)) + "\n")
    return file


def _content(folder: Path, example: Example) -> dict[str, str]:
    if isinstance(example.content, str):
        return {"text": example.content}
    image = folder / f"{example.id}.jpg"
    if not image.exists():
        image.write_bytes(example.content)
    return {"uri": image.name}


def _all_labelled(outcomes: Sequence[Outcome]) -> list[Labelled]:
    labelled = [outcome for outcome in outcomes if isinstance(outcome, Labelled)]
    if len(labelled) < len(outcomes):
        failed = next(outcome for outcome in outcomes if not isinstance(outcome, Labelled))
        count = len(outcomes) - len(labelled)
        raise RuntimeError(f"{count} of {len(outcomes)} items failed, such as {failed.item.id}: {failed.failure}")
    return labelled
