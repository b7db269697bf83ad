"""Runs a configuration's models in this process, one engine each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from models import weights
from models.adapter import decodes_jpegs, labels_of, load
from models.card import ModelCard
from models.engine import Engine
from models.errors import ModelError
from models.media import MediaLimits, decode
from models.types import Content, Prediction, Priority
from models.warm_up import warm_up
from pipelines.types import ModelUse


def load_engine(card: ModelCard, lock_file: Path, media: MediaLimits) -> tuple[Engine, ModelUse]:
    """Check the card's weights, build its adapter, run it once, and put an engine around it.

    Raises:
        ModelError: the weights are missing, changed, unsafe, or do not fit the card, or the model cannot run here.
    """
    found = weights.find(card, lock=weights.read_locks(lock_file).get(weights.key(card)))
    adapter = load(card, found.path)
    warm_up(adapter, card)
    use = ModelUse(
        name=card.name,
        version=card.version,
        weights_digest=found.digest,
        config_digest=card.digest(),
        embeds=card.embeddings,
        labels=labels_of(adapter),
    )
    decoder = partial(decode, limits=media, keeps_jpegs=decodes_jpegs(adapter))
    engine = Engine(adapter, decode=decoder, limits=card.limits, cpu_threads=max(2, math.ceil(card.num_cpus)))
    return engine, use


class LocalModels:
    """The models of a configuration, each loaded when it is first needed, behind the flow's Models protocol."""

    def __init__(self, cards: Mapping[str, ModelCard], lock_file: Path, media: MediaLimits) -> None:
        self._cards = cards
        self._lock_file = lock_file
        self._media = media
        self._loaded: dict[str, tuple[Engine, ModelUse]] = {}

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        engine, _ = self._get(model)
        return await engine.predict(content, priority=priority, deadline_s=deadline_s)

    async def are_ready(self) -> bool:
        """Whether the engine of every model that is loaded runs.

        Raises:
            RuntimeError: one does not, and why.
        """
        for engine, _ in self._loaded.values():
            engine.check_health()
        return True

    def use_of(self, model: str) -> ModelUse:
        return self._get(model)[1]

    async def close(self) -> None:
        await asyncio.gather(*(engine.close() for engine, _ in self._loaded.values()))

    def _get(self, model: str) -> tuple[Engine, ModelUse]:
        if model not in self._cards:
            raise ModelError("unknown_model", f"unknown model '{model}'; configured: {', '.join(sorted(self._cards))}")
        if model not in self._loaded:
            self._loaded[model] = load_engine(self._cards[model], self._lock_file, self._media)
        return self._loaded[model]
