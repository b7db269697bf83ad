"""Compares the engine with a bare adapter loop, where decoding an image costs as much as the network does."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.ratio import Ratio, interleaved
from benchmarks.ratios.arms import Looped, check_alike, in_a_loop, through_engine
from models.adapter import Adapter, load
from models.card import read_card
from models.types import Content

_DEMO = Path(__file__).parents[2] / "models" / "demo"
CARD = _DEMO / "weights" / "detection" / "card.yaml"
SCENES = _DEMO / "drop" / "detection"

_BATCH_SIZE = 8
_FIRST_SIDE, _SMALLEST_SIDE, _LARGEST_SIDE = 1_600, 64, 6_000
_TRIALS = 8
_BALANCE = 0.1  # how far decoding may be from the network; the rounds measure it again, and other work moves it


class NotBalanced(Exception):
    """No image size made decoding cost what the network costs."""


def measure(*, quick: bool) -> Ratio:
    """Both arms with one compute thread in the network; the engine decodes on the other cores."""
    import torch

    torch.set_num_threads(1)
    card = read_card(CARD)
    adapter = load(card, Path(card.weights))
    side = balanced_side(lambda side: _prepare_over_forward(adapter, images(_BATCH_SIZE, side=side)))
    return compare(adapter, images(64 if quick else 192, side=side), rounds=3 if quick else 7, side=side)


def compare(adapter: Adapter[Any, Any], contents: Sequence[Content], *, rounds: int, side: int) -> Ratio:
    """The ratio over square images of a side in pixels."""
    cpu_threads = max(1, (os.cpu_count() or 1) - 1)
    limits = replace(read_card(CARD).limits, max_items=_BATCH_SIZE)
    looped = list[Looped]()
    batches = dict[int, int]()

    def engine() -> float:
        labelled = through_engine(adapter, contents, limits=limits, cpu_threads=cpu_threads)
        batches.clear()
        batches.update(labelled.batch_sizes)
        return labelled.items_per_s

    def loop() -> float:
        looped.append(in_a_loop(adapter, contents, batch_size=_BATCH_SIZE))
        return looped[-1].items_per_s

    once = through_engine(adapter, contents, limits=limits, cpu_threads=cpu_threads)
    found = check_alike(once.predictions, in_a_loop(adapter, contents, batch_size=_BATCH_SIZE).predictions)
    measured = interleaved(engine, loop, rounds=rounds, warm_up=0)  # the comparison above has warmed up both
    kept = looped[-rounds:]
    return Ratio(
        name="engine_over_bare",
        ours="engine",
        peer="bare adapter loop",
        unit="items/s",
        rounds=measured,
        bar=1.4,
        aim=1.8,
        details={
            "items": len(contents),
            "image_side_px": side,
            "batch_size": _BATCH_SIZE,
            "last_batch_sizes": str(batches),
            "forward_threads": 1,
            "cpu_threads": cpu_threads,
            "prepare_over_forward": round(statistics.median(one.prepare_s / one.forward_s for one in kept), 3),
            "read_over_forward": round(statistics.median(one.read_s / one.forward_s for one in kept), 3),
            "forward_ms": round(1000 * statistics.median(one.forward_s for one in kept) / len(contents), 2),
            "same": f"{found} boxes, labels equal, scores within 0.001",
        },
    )


def balanced_side(prepare_over_forward: Callable[[int], float]) -> int:
    """The side of square images at which decoding and preparing take as long as the network.

    The cost of decoding grows with the pixels, so that each trial scales them by what the last one lacked.

    Raises:
        NotBalanced: no trial came near enough.
    """
    side, quotient = _FIRST_SIDE, math.inf
    for _ in range(_TRIALS):
        quotient = prepare_over_forward(side)
        if abs(quotient - 1.0) <= _BALANCE:
            return side
        side = min(max(round(side / math.sqrt(quotient)), _SMALLEST_SIDE), _LARGEST_SIDE)
    raise NotBalanced(f"after {_TRIALS} trials decoding costs {quotient:.2f} of what the network costs")


def _prepare_over_forward(adapter: Adapter[Any, Any], contents: Sequence[Content]) -> float:
    """By the thread's own time, which other work on the machine leaves alone."""
    runs = [in_a_loop(adapter, contents, batch_size=_BATCH_SIZE, clock=time.thread_time) for _ in range(4)][1:]
    return statistics.median(run.prepare_s / run.forward_s for run in runs)


def images(count: int, *, side: int) -> list[Content]:
    """The sample drop's scenes as square JPEGs, each cut a little differently."""
    return [Content(media="image", data=data) for _, data in zip(range(count), _jpegs(side), strict=False)]


def _jpegs(side: int) -> Iterator[bytes]:
    scenes = [Image.open(file).convert("RGB") for file in sorted(SCENES.glob("easy_*.jpg"))]
    number = 0
    while True:
        scene = scenes[number % len(scenes)]
        edge = number // len(scenes)
        file = BytesIO()
        scene.crop((edge, edge, *scene.size)).resize((side, side)).save(file, "JPEG", quality=90)
        yield file.getvalue()
        number += 1
