"""Labels scenes with the demo's detector by the product's own way, from an item to its pre-label."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.decisions.detector.scenes import Drawings
from models.card import read_card
from models.demo.train import WEIGHTS
from models.media import MediaLimits
from models.types import Annotation, Item, Task
from pipelines.corrections.acceptable import ACCEPTABLE, loss
from pipelines.local import LocalModels
from pipelines.policy import ThresholdPolicy
from pipelines.policy.conditions import Conditions
from pipelines.prelabel import Flow, Request, pre_label
from pipelines.standards import Standards
from pipelines.tasks import TaskCard
from pipelines.types import Failed, Outcome, PreLabel

TASK: Task = "detection"

_AT_ONCE = 96  # three batches: one in the network, one decoded, one drawn
_TOLD_EVERY = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScene:
    """A scene's pre-label, the truth, and the loss of taking the pre-label for it: 0.0 or 1.0."""

    item: Item
    pre_label: PreLabel
    truth: tuple[Annotation, ...]
    loss: float

    @property
    def part(self) -> str:
        return self.item.meta["source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScenes:
    """Scenes in the order of their items, what their pre-labels have in common, and how long it took."""

    scenes: Sequence[LabelledScene]
    conditions: Conditions
    model: str
    wall_s: float


def labelled(items: Sequence[Item], *, progress: Callable[[str], None]) -> LabelledScenes:
    """Draw, label and judge the scenes of these items; nothing of it is kept on the disk.

    Raises:
        RuntimeError: an item failed, which none may.
    """
    start = time.monotonic()
    workers = max((os.cpu_count() or 1) - 1, 1)
    # Forking a process whose network computes on threads may lock up.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        scenes, conditions, model = asyncio.run(_labelled(items, Drawings(executor), progress))
    return LabelledScenes(scenes=scenes, conditions=conditions, model=model, wall_s=time.monotonic() - start)


async def _labelled(
    items: Sequence[Item], drawings: Drawings, progress: Callable[[str], None]
) -> tuple[list[LabelledScene], Conditions, str]:
    card = read_card(WEIGHTS / TASK / "card.yaml")
    with TemporaryDirectory() as folder:
        models = LocalModels({card.name: card}, Path(folder) / "no.lock", MediaLimits())
        use, standards = models.use_of(card.name), Standards()
    flow = Flow(
        fetcher=drawings,
        models=models,
        tasks={TASK: TaskCard(task=TASK, models=(card.name,))},
        policies={TASK: ThresholdPolicy(queue="images", accept_score=1.0)},
        store=_NoStore(),
        clock=lambda: datetime.now(UTC),
        standards=standards,
    )
    slots, scenes = asyncio.Semaphore(_AT_ONCE), list[LabelledScene]()
    try:
        for first in range(0, len(items), _TOLD_EVERY):
            some = items[first : first + _TOLD_EVERY]
            requests = [Request(item=item, task=TASK) for item in some]
            outcomes = await asyncio.gather(
                *(pre_label(request, flow, priority="bulk", slots=slots) for request in requests)
            )
            scenes += [_judged(outcome, drawings.truths[outcome.item.id]) for outcome in outcomes]
            progress(f"detector: {len(scenes):,} of {len(items):,} scenes labelled")
    finally:
        await models.close()
    conditions = Conditions(chain=(str(use),), config_digest=use.config_digest, rules_digest=standards.rules_digest)
    return scenes, conditions, str(use)


class _NoStore:
    """Keeps nothing."""

    def check_room(self) -> None: ...

    async def save(self, outcomes: Sequence[Outcome], *, run_id: str | None, begin_by: float | None) -> list[Outcome]:
        del run_id, begin_by
        return list(outcomes)


def _judged(outcome: Outcome, truth: tuple[Annotation, ...]) -> LabelledScene:
    if isinstance(outcome, Failed):
        raise RuntimeError(f"item '{outcome.item.id}' failed: {outcome.failure.message}")
    made = outcome.pre_label
    return LabelledScene(
        item=outcome.item,
        pre_label=made,
        truth=truth,
        loss=loss(TASK, made.prediction.annotations, truth, ACCEPTABLE[TASK]),
    )
