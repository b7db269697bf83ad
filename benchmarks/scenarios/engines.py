"""Puts queries to a task's models in this process, an engine each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from benchmarks.scenarios.target import MeasuredModel, Settings, Work
from models.adapter import build_random
from models.card import ModelCard
from models.engine import Engine
from models.media import decode
from models.types import Content
from pipelines.local import load_engine
from pipelines.tasks import prompts_from

RANDOM = "random"


class Engines:
    """A task's models in this process, one engine each: each after the first is prompted by the one before."""

    def __init__(self, engines: Mapping[str, Engine], models: Sequence[MeasuredModel], *, at_once: int) -> None:
        self._engines, self.models, self.at_once = engines, tuple(models), at_once

    async def label(self, content: Content) -> None:
        for engine in self._engines.values():
            prediction = await engine.predict(content)
            if not prediction.annotations:
                return
            content = replace(content, prompts=prompts_from(prediction))

    def work(self) -> dict[str, Work]:
        return {name: _work(engine) for name, engine in self._engines.items()}


def _work(engine: Engine) -> Work:
    stats = engine.stats()
    return Work(
        batch_sizes=stats.batch_sizes,
        busy_s={"prepare": stats.prepare_s, "forward": stats.forward_s, "read": stats.read_s},
        cost=stats.cost,
        padded_cost=stats.padded_cost,
    )


@asynccontextmanager
async def running(cards: Sequence[ModelCard], settings: Settings, *, random_weights: bool) -> AsyncIterator[Engines]:
    """The cards' engines in this process, with verified weights or random ones at full size.

    Raises:
        ModelError: the weights are missing or changed, or a card states no architecture to build at random.
    """
    made = [_random(card, settings) if random_weights else _loaded(card, settings) for card in cards]
    by_name = {card.name: engine for card, (engine, _) in zip(cards, made, strict=True)}
    at_once = min(card.limits.max_queue for card in cards)
    try:
        yield Engines(by_name, [model for _, model in made], at_once=at_once)
    finally:
        await asyncio.gather(*(engine.close() for engine in by_name.values()))


def _loaded(card: ModelCard, settings: Settings) -> tuple[Engine, MeasuredModel]:
    engine, use = load_engine(card, settings.lock_file, settings.media)
    return engine, _measured(card, weights_digest=use.weights_digest)


def _random(card: ModelCard, settings: Settings) -> tuple[Engine, MeasuredModel]:
    engine = Engine(build_random(card), decode=partial(decode, limits=settings.media), limits=card.limits)
    return engine, _measured(card, weights_digest=RANDOM)


def _measured(card: ModelCard, *, weights_digest: str) -> MeasuredModel:
    return MeasuredModel(
        name=card.name,
        version=card.version,
        task=card.task,
        adapter=card.adapter,
        precision=card.precision,
        weights_digest=weights_digest,
        config_digest=card.digest(),
        max_items=card.limits.max_items,
    )
