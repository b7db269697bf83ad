"""A model whose device breaks when a text tells it to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.card import BatchLimits
from models.engine import Engine
from models.types import Annotation, Content, Payload, Prediction, TextPayload, WholeItem
from pipelines.types import ModelUse

FAULT = "CUDA error: an illegal memory access was encountered"
NO_DEVICE = "no CUDA-capable device is detected"


@dataclass(frozen=True)
class Text:
    text: str
    cost: float = 1.0


class Fragile:
    def prepare(self, payloads: Sequence[Payload]) -> list[Text]:
        return [Text(payload.text) for payload in payloads if isinstance(payload, TextPayload)]

    def forward(self, batch: Sequence[Text]) -> list[str]:
        if any(sample.text == "break" for sample in batch):
            raise RuntimeError(FAULT)
        return [sample.text for sample in batch]

    def read(self, raw: list[str], payloads: Sequence[Payload]) -> list[Prediction]:
        return [Prediction(annotations=(Annotation(id="0", label=t, geometry=WholeItem(), score=1.0),)) for t in raw]


def decode(content: Content) -> Payload:
    return TextPayload(text=content.data.decode())


def open_engine() -> tuple[Engine, ModelUse]:
    use = ModelUse(name="fragile", version="1", weights_digest="w", config_digest="c")
    return Engine(Fragile(), decode=decode, limits=BatchLimits()), use


def open_unless(flag: Path) -> tuple[Engine, ModelUse]:
    """The engine, until the flag exists: then the device cannot be opened any more."""
    if flag.exists():
        raise RuntimeError(NO_DEVICE)
    return open_engine()
