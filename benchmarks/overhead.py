"""Compares the service end to end with a bare loop over the same adapter, in one interleaved run."""

from __future__ import annotations

import asyncio
import base64
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import orjson
import soundfile
from rich.table import Table

from benchmarks import machine, service
from benchmarks.machine import Machine
from models.adapter import load
from models.card import read_card
from models.media import decode
from models.types import Content

CARD = Path(__file__).parents[1] / "models" / "demo" / "weights" / "speech" / "card.yaml"
CLIPS = Path(__file__).parents[1] / "models" / "demo" / "drop" / "speech"

_LEAST_ITEM_S = 0.05
_ITEMS_PER_CALL = 8
_CALLS_AT_ONCE = 4
_CONNECTIONS = 32
_NOOP_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Rates of both arms by round, their ratio, and what they were measured on."""

    machine: Machine
    model: str
    items_per_round: int
    item_s: float
    bare_items_per_s: list[float]
    service_items_per_s: list[float]
    ratio_median: float
    ratio_low: float
    ratio_high: float
    noop_path: str
    noop_connections: int
    noop_requests_per_s: list[float]


def measure(*, rounds: int, items: int) -> Overhead:
    """Measure ``rounds`` times one arm after the other, after one round of warming up.

    The bare loop decodes, prepares, forwards and reads the same bytes in batches of the card's ``max_items``, in one
    thread of this process with as many compute threads as the service's one replica has. The service gets 4 calls of 8
    items at a time and forms its own batches.
    """
    card = read_card(CARD)
    contents = _items(items)
    bare = _BareLoop()
    config = {
        "models": [str(CARD)],
        "tasks": {card.task: [card.name]},
        "policies": {card.task: {"queue": "speech", "accept_score": 0.5}},
    }
    bodies = [_body(contents[n : n + _ITEMS_PER_CALL], n) for n in range(0, items, _ITEMS_PER_CALL)]
    bare_rates, service_rates, noop_rates = [], [], []
    with service.running(config) as address:
        for _ in range(rounds + 1):
            bare_rates.append(items / bare.run(contents))
            service_rates.append(items / asyncio.run(service.label_all(address, bodies, at_once=_CALLS_AT_ONCE)))
            noop = service.requests_per_second(address, "/healthz", connections=_CONNECTIONS, seconds=_NOOP_S)
            noop_rates.append(asyncio.run(noop))
    ratios = [s / b for s, b in zip(service_rates[1:], bare_rates[1:], strict=True)]
    return Overhead(
        machine=machine.here(),
        model=f"{card.name}@{card.version}",
        items_per_round=items,
        item_s=_checked(1 / statistics.median(bare_rates[1:])),
        bare_items_per_s=bare_rates[1:],
        service_items_per_s=service_rates[1:],
        ratio_median=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        noop_path="/healthz",
        noop_connections=_CONNECTIONS,
        noop_requests_per_s=noop_rates[1:],
    )


def table(result: Overhead) -> Table:
    """The result as a person reads it."""
    title = (
        f"{result.model}, {result.item_s * 1000:.0f} ms an item alone; {result.machine.cpu}, "
        f"{result.machine.cores} cores, load {result.machine.load_average_1min:.1f}"
    )
    grid = Table("what", "median", "lowest", "highest", title=title, title_justify="left")
    for name, rates in {
        "bare adapter loop, items/s": result.bare_items_per_s,
        "service end to end, items/s": result.service_items_per_s,
        f"GET {result.noop_path}, {result.noop_connections} connections, requests/s": result.noop_requests_per_s,
    }.items():
        grid.add_row(name, *(f"{pick(rates):.1f}" for pick in (statistics.median, min, max)))
    grid.add_section()
    ratios = (result.ratio_median, result.ratio_low, result.ratio_high)
    grid.add_row("service / bare loop", *(f"{ratio:.2f}" for ratio in ratios))
    return grid


class _BareLoop:
    """What an engineer writes in ten lines: batches through the adapter, one step after the other."""

    def __init__(self) -> None:
        self._card = read_card(CARD)
        self._adapter = load(self._card, Path(self._card.weights))

    def run(self, contents: Sequence[Content]) -> float:
        """Label everything; returns the seconds it took."""
        size = self._card.limits.max_items
        start = time.perf_counter()
        for first in range(0, len(contents), size):
            payloads = [decode(content) for content in contents[first : first + size]]
            self._adapter.read(self._adapter.forward(self._adapter.prepare(payloads)), payloads)
        return time.perf_counter() - start


def _items(n: int) -> list[Content]:
    """n different recordings as FLAC: the sample drop's clips, each a little louder or softer than the last."""
    clips = [soundfile.read(file, dtype="float32") for file in sorted(CLIPS.glob("clean_*"))]
    rng = np.random.default_rng(0)
    return [Content(media="audio", data=_flac(*clips[i % len(clips)], rng.uniform(0.7, 0.95))) for i in range(n)]


def _flac(samples: np.ndarray, rate_hz: int, gain: float) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples * gain, rate_hz, format="FLAC")
    return file.getvalue()


def _body(contents: Sequence[Content], first: int) -> bytes:
    items = [
        {"id": str(first + n), "task": "speech", "data": base64.b64encode(content.data).decode()}
        for n, content in enumerate(contents)
    ]
    return orjson.dumps({"items": items})


def _checked(item_s: float) -> float:
    if item_s < _LEAST_ITEM_S:
        raise RuntimeError(
            f"an item takes {item_s * 1000:.0f} ms alone; this comparison is for items of 50 ms and more"
        )
    return item_s
