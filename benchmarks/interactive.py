"""Measures how long somebody who clicks on one image several times waits for the first answer and for the others."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks import gpu_workload
from benchmarks.judgement import Judgement, Report
from benchmarks.scenarios.figures import percentile
from models.adapter import decodes_jpegs
from models.card import ModelCard, torch_device
from models.engine import Engine, EngineStats
from models.media import decode
from models.types import Content, PointPrompt, Prediction, Prompts
from models.warm_up import warm_up

ROUNDS = 5
MORE_CLICKS = 3  # on the same image
MOST_OF_FIRST = 0.25
MOST_DIFFERENCE = 1e-3  # of a score, as for an image alone and in a batch
KEEPS_NOTHING = {"kept_features_mib": 0}

_MOST_LOOKS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """One question: what the caller waited, and what of it each step took; ``rest_ms`` is waiting for threads."""

    wait_ms: float
    prepare_ms: float
    forward_ms: float
    read_ms: float

    @property
    def rest_ms(self) -> float:
        return self.wait_ms - self.prepare_ms - self.forward_ms - self.read_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Clicks:
    """The clicks on new images, those after them, and the same ones put to a model that keeps nothing.

    ``differences`` are those of each score between the two models, for the same click.
    """

    model: str
    device: str
    first: list[Click] = field(default_factory=list)
    next: list[Click] = field(default_factory=list)
    control_first: list[Click] = field(default_factory=list)
    control_next: list[Click] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)


def measure(
    *, rounds: int = ROUNDS, tiny: bool = False, device: str = "auto", progress: Callable[[str], None]
) -> Clicks:
    """A new image in each round, which both models are asked about in turn; ``tiny`` takes the demo's network.

    Nobody else asks meanwhile. The bytes are here already: fetching them is not measured.
    """
    return asyncio.run(_measured(rounds=rounds, tiny=tiny, device=device, progress=progress))


async def _measured(*, rounds: int, tiny: bool, device: str, progress: Callable[[str], None]) -> Clicks:
    card = gpu_workload.cards(tiny=tiny, device=device)["segmentation"]
    kept, control = (_Asker(replace(card, options=card.options | own), tiny=tiny) for own in ({}, KEEPS_NOTHING))
    found = Clicks(model=card.name, device=torch_device(card))
    images = gpu_workload.contents("segmentation", count=rounds, tiny=tiny)
    rng = np.random.default_rng(0)
    try:
        for number, image in enumerate(images):
            clicks = [_clicked(image, rng, tiny=tiny) for _ in range(1 + MORE_CLICKS)]
            for place, click in enumerate(clicks):
                answer = await kept.ask(click, into=found.next if place else found.first)
                if place < 2:
                    other = await control.ask(click, into=found.control_next if place else found.control_first)
                    found.differences.extend(_differences(answer, other))
            progress(f"round {number + 1}: {found.first[-1].wait_ms:.0f} ms, then {found.next[-1].wait_ms:.0f} ms")
    finally:
        await asyncio.gather(kept.close(), control.close())
    return found


class _Asker:
    """A model with an engine around it, both as a replica has them."""

    def __init__(self, card: ModelCard, *, tiny: bool) -> None:
        adapter = gpu_workload.build(card, tiny=tiny, precision=card.precision)
        warm_up(adapter, replace(card, num_gpus=0.0))  # one at a time, as the clicks come
        self.engine = Engine(
            adapter, decode=partial(decode, keeps_jpegs=decodes_jpegs(adapter)), limits=card.limits, cpu_threads=2
        )

    async def ask(self, content: Content, *, into: list[Click]) -> Prediction:
        before, start = self.engine.stats(), time.perf_counter()
        answer = await self.engine.predict(content)
        waited = time.perf_counter() - start
        after = await self._after(before.read_s)
        into.append(
            Click(
                wait_ms=1e3 * waited,
                prepare_ms=1e3 * (after.prepare_s - before.prepare_s),
                forward_ms=1e3 * (after.forward_s - before.forward_s),
                read_ms=1e3 * (after.read_s - before.read_s),
            )
        )
        return answer

    async def close(self) -> None:
        """Until the threads are gone: the last one frees the network, which must not happen at the process's end."""
        await self.engine.close()
        await asyncio.to_thread(self.engine.end)

    async def _after(self, read_s: float) -> EngineStats:
        """The engine's figures once it has counted the reading, which it does after it has answered."""
        for _ in range(_MOST_LOOKS):
            if (stats := self.engine.stats()).read_s > read_s:
                return stats
            await asyncio.sleep(0.001)
        raise RuntimeError("the engine has answered and does not count what it read")


def _clicked(image: Content, rng: np.random.Generator, *, tiny: bool) -> Content:
    """A click somewhere on the image."""
    height, width = gpu_workload.size_hw(tiny=tiny)
    point = (float(rng.uniform(1, width - 1)), float(rng.uniform(1, height - 1)))
    prompts = Prompts(points=(PointPrompt(points_xy=(point,), is_foreground=(True,)),))
    return replace(image, prompts=prompts, digest=hashlib.sha256(image.data).hexdigest())


def _differences(one: Prediction, other: Prediction) -> list[float]:
    """Of each score; infinite where one has labels that the other has not."""
    if len(one.annotations) != len(other.annotations):
        return [float("inf")]
    return [abs(a.score - b.score) for a, b in zip(one.annotations, other.annotations, strict=True)]


def judge(clicks: Clicks) -> list[Judgement]:
    """Whether the later clicks are quick because of what is kept, and say the same."""
    return [
        Judgement(
            what="a further click / the first (medians)",
            value=_p50(clicks.next) / _p50(clicks.first),
            bar=MOST_OF_FIRST,
            direction="at_most",
        ),
        Judgement(
            what="control: the same where nothing is kept",
            value=_p50(clicks.control_next) / _p50(clicks.control_first),
            bar=2 * MOST_OF_FIRST,
            direction="at_least",
        ),
        Judgement(
            what="largest difference of a score, kept or not",
            value=max(clicks.differences, default=None),
            bar=MOST_DIFFERENCE,
            direction="at_most",
        ),
    ]


def _p50(clicks: Sequence[Click]) -> float:
    return percentile([click.wait_ms for click in clicks], 50) or 0.0


def report(clicks: Clicks) -> Report:
    """What is judged, with all figures and their table."""
    return Report(judgements=judge(clicks), figures=figures(clicks), tables=[_table(clicks)])


def figures(clicks: Clicks) -> dict[str, Any]:
    """All figures, ready for ``json.dumps``."""
    summaries = {name.replace(" ", "_"): _summary(own) for name, own in _named(clicks).items()}
    return {"rounds": len(clicks.first), "batch_size": 1, "warm_up": "one invented image", **summaries} | asdict(clicks)


def _named(clicks: Clicks) -> dict[str, list[Click]]:
    return {
        "first click": clicks.first,
        "further clicks": clicks.next,
        "nothing kept first click": clicks.control_first,
        "nothing kept second click": clicks.control_next,
    }


def _summary(clicks: Sequence[Click]) -> dict[str, float]:
    steps = {
        name: [getattr(click, f"{name}_ms") for click in clicks] for name in ("prepare", "forward", "read", "rest")
    }
    waits = [click.wait_ms for click in clicks]
    return {
        "n": len(clicks),
        "p50_ms": round(percentile(waits, 50) or 0.0, 1),
        "p95_ms": round(percentile(waits, 95) or 0.0, 1),
        **{f"{name}_p50_ms": round(percentile(own, 50) or 0.0, 1) for name, own in steps.items()},
    }


def _table(clicks: Clicks) -> Table:
    grid = Table(title=f"{clicks.model} on {clicks.device}, one click at a time", title_justify="left")
    for column in ("", "n", "p50, ms", "p95, ms", "prepare", "forward", "read", "rest"):
        grid.add_column(column, justify="right" if column else "left")
    for name, own in _named(clicks).items():
        grid.add_row(name, *(f"{value:g}" for value in _summary(own).values()))
    return grid
