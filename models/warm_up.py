"""Runs a model once before anybody waits for it, so that the first answer is as quick as the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from models.adapter import Adapter, HasExample, Sample, decodes_jpegs
from models.card import ModelCard
from models.errors import ModelError
from models.types import AudioPayload, BoxPrompt, ImagePayload, Payload, Prompts, TextPayload

_SIDE, _RATE_HZ = 640, 16_000
_TEXT = "Ada Varga moved to Lisbon on 3 May 2021 and has worked there for Waxmann Holdings ever since."


def warm_up(adapter: Adapter[Any, Any], card: ModelCard) -> None:
    """Take an invented item through all three steps: alone, and on a GPU also in batches of 2, 4, 8 … and the largest.

    CUDA chooses kernels, reserves memory and records graphs by the shape of a batch; a CPU has only the first call's
    cost. A compiled network gets batches of 2 and 3 in any case: torch.compile builds for one, for two, and then for
    any number.

    Raises:
        ModelError: warm_up_failed; the model cannot run here, and it is better known now.
    """
    payload = example(card)
    try:
        if isinstance(payload, ImagePayload) and decodes_jpegs(adapter):
            payload = _encoded(payload)
        [sample] = [adapter.example()] if isinstance(adapter, HasExample) else adapter.prepare([payload])
        for size in _sizes(card, sample):
            adapter.read(adapter.forward([sample] * size), [payload] * size)
    except Exception as err:
        message = f"model '{card.name}' failed on its first item: {type(err).__name__}: {err}"
        raise ModelError("warm_up_failed", message) from err


def example(card: ModelCard) -> Payload:
    """An item of the card's media: a picture of noise with a box to outline, a sentence, two seconds of a hum."""
    match card.media:
        case "image":
            noise = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
            box = BoxPrompt(xyxy=(_SIDE / 4, _SIDE / 4, _SIDE / 2, _SIDE / 2))
            return ImagePayload(image_rgb=noise, prompts=Prompts(boxes=(box,)))
        case "text":
            return TextPayload(text=_TEXT)
        case "audio":
            moments = np.arange(2 * _RATE_HZ) / _RATE_HZ
            return AudioPayload(samples=(0.1 * np.sin(2 * np.pi * 120 * moments)).astype(np.float32))


def _encoded(payload: ImagePayload) -> Payload:
    from models.jpeg_decoder import a_jpeg  # brings torch, which not every family needs

    return replace(a_jpeg(payload.image_rgb), prompts=payload.prompts)


def _sizes(card: ModelCard, sample: Sample) -> Iterator[int]:
    yield 1
    if card.options.get("compile"):
        yield from (2, 3)
    if card.num_gpus:
        yield from card.limits.batch_sizes(cost=sample.cost)[1:]
