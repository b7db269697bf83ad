"""Stands in for a model where processors must not matter: it only sleeps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from models.types import Payload, Prediction, TextPayload

MAX_ITEMS = 8
FORWARD_S = 0.25
ITEM_S = 0.001
MOST_ITEMS_PER_S = MAX_ITEMS / (FORWARD_S + ITEM_S * MAX_ITEMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    text: str
    cost: float = 1.0


class Sleeps:
    """An adapter that takes 250 ms and 1 ms for each item, and no processor; it answers with the text as a number."""

    def prepare(self, payloads: Sequence[Payload]) -> list[Sample]:
        return [Sample(text=payload.text) for payload in payloads if isinstance(payload, TextPayload)]

    def forward(self, batch: Sequence[Sample]) -> list[str]:
        time.sleep(FORWARD_S + ITEM_S * len(batch))
        return [sample.text for sample in batch]

    def read(self, raw: list[str], payloads: Sequence[Payload]) -> list[Prediction]:
        return [Prediction(signals={"number": float(text)}) for text in raw]
