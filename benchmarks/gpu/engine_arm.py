"""Labels items with an adapter, through the engine and in a plain loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from models.adapter import Adapter, decodes_jpegs
from models.card import ModelCard
from models.engine import Engine
from models.types import Content, Payload


def decoder_for(adapter: Adapter[Any, Any]) -> Callable[[Content], Payload]:
    from models.media import decode

    return partial(decode, keeps_jpegs=decodes_jpegs(adapter))


class EngineArm:
    """Both ways to label the same items with one adapter; each call returns items per second."""

    def __init__(
        self, adapter: Adapter[Any, Any], card: ModelCard, items: Sequence[Content], *, cpu_threads: int
    ) -> None:
        self._adapter, self._card = adapter, card
        self.items, self.cpu_threads = items, cpu_threads
        self._decode = decoder_for(adapter)
        self.forward_share = 0.0
        self.batch_sizes: dict[int, int] = {}

    def engine(self) -> float:
        return asyncio.run(self._through_engine())

    async def _through_engine(self) -> float:
        engine = Engine(self._adapter, decode=self._decode, limits=self._card.limits, cpu_threads=self.cpu_threads)
        try:
            begin = time.perf_counter()
            await asyncio.gather(*(engine.predict(item) for item in self.items))
            seconds = time.perf_counter() - begin
            stats = engine.stats()
            self.forward_share, self.batch_sizes = stats.forward_s / seconds, dict(stats.batch_sizes)
        finally:
            await engine.close()
        return len(self.items) / seconds

    def loop(self) -> float:
        size, begin = self._card.limits.max_items, time.perf_counter()
        for first in range(0, len(self.items), size):
            payloads = [self._decode(item) for item in self.items[first : first + size]]
            self._adapter.read(self._adapter.forward(self._adapter.prepare(payloads)), payloads)
        return len(self.items) / (time.perf_counter() - begin)
