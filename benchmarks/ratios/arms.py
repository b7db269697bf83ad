"""Labels the same contents in a bare loop and through the engine, and checks that two arms found the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.adapter import Adapter
from models.card import BatchLimits
from models.engine import Engine
from models.media import decode
from models.types import Content, Prediction

_SCORE_TOLERANCE = 1e-3


class ArmsDiffer(Exception):
    """The arms of a comparison gave different results, so their speeds say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """What one run found, how long it took, and in which batches."""

    predictions: list[Prediction]
    seconds: float
    batch_sizes: dict[int, int]

    @property
    def items_per_s(self) -> float:
        return len(self.predictions) / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Looped:
    """What a bare loop found, and how many seconds each of its steps took."""

    predictions: list[Prediction]
    prepare_s: float
    forward_s: float
    read_s: float

    @property
    def items_per_s(self) -> float:
        return len(self.predictions) / (self.prepare_s + self.forward_s + self.read_s)


def in_a_loop(
    adapter: Adapter[Any, Any],
    contents: Sequence[Content],
    *,
    batch_size: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Looped:
    """What an engineer writes in ten lines: batches through the adapter, one step after the other, in one thread.

    ``prepare_s`` counts decoding, too.
    """
    predictions = list[Prediction]()
    prepare_s = forward_s = read_s = 0.0
    for first in range(0, len(contents), batch_size):
        start = clock()
        payloads = [decode(content) for content in contents[first : first + batch_size]]
        batch = adapter.prepare(payloads)
        prepared = clock()
        raw = adapter.forward(batch)
        forwarded = clock()
        predictions += adapter.read(raw, payloads)
        read = clock()
        prepare_s, forward_s = prepare_s + prepared - start, forward_s + forwarded - prepared
        read_s += read - forwarded
    return Looped(predictions=predictions, prepare_s=prepare_s, forward_s=forward_s, read_s=read_s)


def through_engine(
    adapter: Adapter[Any, Any], contents: Sequence[Content], *, limits: BatchLimits, cpu_threads: int
) -> Labelled:
    """All contents handed to one engine at once, as a batch job does."""
    return asyncio.run(_through_engine(adapter, contents, limits, cpu_threads))


async def _through_engine(
    adapter: Adapter[Any, Any], contents: Sequence[Content], limits: BatchLimits, cpu_threads: int
) -> Labelled:
    limits = replace(limits, max_queue=max(limits.max_queue, len(contents)))
    engine = Engine(adapter, decode=decode, limits=limits, cpu_threads=cpu_threads)
    try:
        start = time.perf_counter()
        predictions = await asyncio.gather(*(engine.predict(content) for content in contents))
        seconds = time.perf_counter() - start
        return Labelled(predictions=predictions, seconds=seconds, batch_sizes=engine.stats().batch_sizes)
    finally:
        await engine.close()


def check_alike(ours: Sequence[Prediction], peers: Sequence[Prediction]) -> int:
    """How many annotations both arms found: the same labels in the same order, |Δscore| ≤ 1e-3.

    Raises:
        ArmsDiffer: an item's labels or scores differ, or there are no labels at all.
    """
    for index, (own, other) in enumerate(zip(ours, peers, strict=True)):
        own_labels, other_labels = ([a.label for a in prediction.annotations] for prediction in (own, other))
        if own_labels != other_labels:
            raise ArmsDiffer(f"item {index} has labels {own_labels} in one arm and {other_labels} in the other")
        gaps = [abs(a.score - b.score) for a, b in zip(own.annotations, other.annotations, strict=True)]
        if max(gaps, default=0.0) > _SCORE_TOLERANCE:
            raise ArmsDiffer(f"item {index} has scores that differ by {max(gaps):.4f}")
    found = sum(len(prediction.annotations) for prediction in ours)
    if not found:
        raise ArmsDiffer("no arm found anything, so that nothing can be compared")
    return found


def check_equal(ours: Sequence[Collection[object]], peers: Sequence[Collection[object]], *, what: str) -> int:
    """How many things both arms found, the same ones in every item.

    Raises:
        ArmsDiffer: an item has others in one arm than in the other, or no item has any.
    """
    for index, (own, other) in enumerate(zip(ours, peers, strict=True)):
        if own != other:
            raise ArmsDiffer(f"the {what} of item {index} are {own} in our arm and {other} in the peer's")
    if not any(ours):
        raise ArmsDiffer(f"no arm found any {what}, so that nothing can be compared")
    return sum(map(len, ours))


def spoken_words(prediction: Prediction) -> list[str]:
    """The words that were heard in a recording, in order."""
    return [found.text or "" for found in prediction.annotations if found.label == "word"]
