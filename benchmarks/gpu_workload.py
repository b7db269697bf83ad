"""Makes what the GPU benchmark computes with: the gpu preset's networks with random weights, and generated items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from models.adapter import Adapter, build_random, load
from models.card import ModelCard, Precision, card_from, read_card
from models.types import BoxPrompt, Content, Prompts, Task

TASKS: tuple[Task, ...] = ("detection", "segmentation", "ner", "speech")
PRESET = Path(__file__).parents[1] / "serving" / "presets" / "gpu.yaml"
DEMO = Path(__file__).parents[1] / "models" / "demo" / "weights"

_PROMPTS = 4  # boxes for each image
_AUDIO_S = 20
_RATE_HZ = 16_000
_WORDS = ("Ada", "Varga", "moved", "from", "Lisbon", "to", "the", "Cedar", "Institute", "in", "May")


def cards(*, tiny: bool, device: str) -> dict[Task, ModelCard]:
    """The gpu preset's card of each task, or with ``tiny`` the demo's; nothing is held back for its score."""
    import yaml

    if tiny:
        found = [read_card(DEMO / task / "card.yaml") for task in TASKS]
    else:
        entries = yaml.safe_load(PRESET.read_text(encoding="utf-8"))["models"]
        found = [card_from(entry, folder=PRESET.parent) for entry in entries]
    changed = (replace(card, device=device, min_score=0.0, **_changes(card, tiny=tiny)) for card in found)
    return {card.task: card for card in changed}


def _changes(card: ModelCard, *, tiny: bool) -> dict[str, Any]:
    """Noise is no speech, and random weights never end a text, so Whisper listens to everything and stops early."""
    if card.task != "speech":
        return {}
    return {"options": {"vad": False, "language": "en", "max_new_tokens": 4 if tiny else 64}}


def build(card: ModelCard, *, tiny: bool, precision: Precision) -> Adapter[Any, Any]:
    own = replace(card, precision=precision)
    return load(own, Path(own.weights)) if tiny else build_random(own)


def contents(task: Task, *, count: int, tiny: bool) -> list[Content]:
    """Different encoded items of a task, the same ones each time."""
    rng = np.random.default_rng(0)
    match task:
        case "detection":
            return [Content(media="image", data=_jpeg(rng, tiny=tiny)) for _ in range(count)]
        case "segmentation":
            return [_with_boxes(rng, tiny=tiny) for _ in range(count)]
        case "ner":
            lengths = _lengths(rng, count, tiny=tiny)
            return [Content(media="text", data=" ".join(rng.choice(_WORDS, size)).encode()) for size in lengths]
        case "speech":
            return [Content(media="audio", data=_wav(rng, seconds=2 if tiny else _AUDIO_S)) for _ in range(count)]


def size_hw(*, tiny: bool) -> tuple[int, int]:
    """Of the generated images, in pixels."""
    return (120, 160) if tiny else (960, 1280)


def _jpeg(rng: np.random.Generator, *, tiny: bool) -> bytes:
    """Coarse coloured noise, which JPEG compresses about as well as a photo."""
    from PIL import Image

    height, width = size_hw(tiny=tiny)
    coarse = rng.integers(0, 255, (height // 20, width // 20, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.normal(0.0, 6.0, (height, width, 1))
    pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=88)
    return file.getvalue()


def _with_boxes(rng: np.random.Generator, *, tiny: bool) -> Content:
    height, width = size_hw(tiny=tiny)
    corners = rng.uniform((0.0, 0.0), (width * 0.6, height * 0.6), (_PROMPTS, 2))
    sizes = rng.uniform(0.1, 0.4, (_PROMPTS, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + sizes], axis=1).tolist()
    prompts = Prompts(boxes=tuple(BoxPrompt(xyxy=tuple(box)) for box in boxes))
    return Content(media="image", data=_jpeg(rng, tiny=tiny), prompts=prompts)


def _lengths(rng: np.random.Generator, count: int, *, tiny: bool) -> Sequence[int]:
    """Words of each text: lognormal, as texts are; most are short, a few are long."""
    return np.clip(rng.lognormal(np.log(40), 1.0, count), 3, 60 if tiny else 400).astype(int).tolist()


def _wav(rng: np.random.Generator, *, seconds: int) -> bytes:
    import wave

    samples = (rng.normal(0.0, 0.1, seconds * _RATE_HZ).clip(-1, 1) * 32767).astype("<i2")
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE_HZ)
        sound.writeframes(samples.tobytes())
    return file.getvalue()
