"""Says what labelling a drop would come to, from its listing and a sample of its items."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.types import Item, Task
from pipelines.batch import Labels
from pipelines.prelabel import Request
from pipelines.remarks import FindingCount, UnmappedCount, remarks_on
from pipelines.sources.source import Source
from pipelines.types import Failed, Outcome

_SAMPLE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a drop would come to.

    ``items`` and ``bad_entries`` are counted; the rest is measured on ``sampled`` items, drawn evenly from all of them,
    of which so many were ``accepted``, sent to ``review``, or ``failed`` with these codes. ``findings`` is what the
    sanity rules found in these, ``unmapped`` the labels that mean no class.
    """

    items: int
    bad_entries: int
    sampled: int
    accepted: int
    review: int
    failed: dict[str, int]
    findings: tuple[FindingCount, ...]
    unmapped: tuple[UnmappedCount, ...]
    items_per_s: float | None

    @property
    def seconds(self) -> float | None:
        """How long the whole drop would take at the sample's rate."""
        return None if self.items_per_s is None else self.items / self.items_per_s


async def estimate(
    source: Source, task: Task, labels: Labels, *, seed: int = 0, clock: Callable[[], float] = time.monotonic
) -> Estimate:
    """List the whole drop, and label a sample of it; nothing is stored."""
    sample, items, bad_entries = await asyncio.to_thread(_sampled, source, random.Random(seed))  # noqa: S311
    started, slots = clock(), asyncio.Semaphore(labels.at_once)

    async def label(item: Item) -> Outcome:
        async with slots:
            return await labels.label(Request(item=item, task=task))

    outcomes = await asyncio.gather(*map(label, sample))
    return _estimate(outcomes, items, bad_entries, seconds=clock() - started)


def _sampled(source: Source, chance: random.Random) -> tuple[list[Item], int, int]:
    """A sample of the items, each as likely as any other (Vitter 1985, algorithm R), and how many entries there are."""
    sample, items, bad_entries = list[Item](), 0, 0
    for entry in source.entries():
        if isinstance(entry, Failed):
            bad_entries += 1
            continue
        items += 1
        if len(sample) < _SAMPLE:
            sample.append(entry)
        elif (place := chance.randrange(items)) < _SAMPLE:
            sample[place] = entry
    return sample, items, bad_entries


def _estimate(outcomes: Sequence[Outcome], items: int, bad_entries: int, *, seconds: float) -> Estimate:
    labelled = [outcome for outcome in outcomes if not isinstance(outcome, Failed)]
    routes = Counter(outcome.decision.route for outcome in labelled)
    remarks = remarks_on(outcome.pre_label for outcome in labelled)
    return Estimate(
        items=items,
        bad_entries=bad_entries,
        sampled=len(outcomes),
        accepted=routes["accept"] + routes["audit"],
        review=routes["review"] + routes["scratch"],
        failed=dict(Counter(outcome.failure.code for outcome in outcomes if isinstance(outcome, Failed))),
        findings=remarks.findings,
        unmapped=remarks.unmapped,
        items_per_s=len(outcomes) / seconds if outcomes else None,
    )
