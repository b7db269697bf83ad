"""Runs loops side by side, each over a database of its own, and puts together what they came to."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from benchmarks.active_loop.rounds import Loop, Plan, Round
from benchmarks.active_loop.subject import Subject
from benchmarks.active_loop.truth import ALL
from models.types import Task
from pipelines.sampling import Strategy

TaskName = Literal["detection", "ner"]
STRATEGIES: tuple[Strategy, ...] = ("hybrid", "random")
PLANS: dict[TaskName, Plan] = {
    "ner": Plan(rounds=4, drop=600, budget=160, explore=0.75, held_out=500),
    "detection": Plan(rounds=3, drop=300, budget=150, explore=11 / 15, held_out=200),
}
QUICK_PLANS: dict[TaskName, Plan] = {
    "ner": Plan(rounds=2, drop=400, budget=160, explore=0.75, held_out=200),
    "detection": Plan(rounds=2, drop=180, budget=150, explore=11 / 15, held_out=60),
}
SEEDS: dict[TaskName, int] = {"ner": 3, "detection": 2}
_AT_ONCE = 2  # processes of one thread each: what two cores do


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All loops, by task, and how long they took together."""

    plans: dict[TaskName, Plan]
    loops: dict[TaskName, list[Loop]]
    is_quick: bool
    wall_s: float


def measure(tasks: Sequence[TaskName], *, rounds: int | None, quick: bool, progress: Callable[[str], None]) -> Measured:
    """Every strategy on the same seeds, so on the same drops and held-out items.

    Args:
        rounds: instead of those of the plans.
        quick: one seed and two rounds.
    """
    started, chosen = time.monotonic(), QUICK_PLANS if quick else PLANS
    plans: dict[TaskName, Plan] = {
        task: chosen[task] if rounds is None else replace(chosen[task], rounds=rounds) for task in tasks
    }
    wanted: list[tuple[TaskName, Strategy, int]] = [
        (task, strategy, seed)
        for task in tasks
        for seed in range(1 if quick else SEEDS[task])
        for strategy in STRATEGIES
    ]
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by the processes' libraries when they are imported
    loops: dict[TaskName, list[Loop]] = {task: [] for task in tasks}
    with ProcessPoolExecutor(max_workers=_AT_ONCE, mp_context=get_context("spawn")) as pool:
        running: dict[Future[Loop], TaskName] = {
            pool.submit(run_loop, task, plans[task], strategy, seed): task for task, strategy, seed in wanted
        }
        for done in as_completed(running):
            loop = done.result()
            loops[running[done]].append(loop)
            progress(f"{loop.task}, {loop.strategy}, seed {loop.seed}: {len(loop.rounds)} rounds done")
    for found in loops.values():
        found.sort(key=lambda loop: (loop.strategy, loop.seed))
    return Measured(plans=plans, loops=loops, is_quick=quick, wall_s=time.monotonic() - started)


def subject_of(task: Task) -> Subject:
    """The subject of a task; its generators and weights are the demo's."""
    return import_module(f"benchmarks.active_loop.{task}").subject()


def run_loop(task: TaskName, plan: Plan, strategy: Strategy, seed: int) -> Loop:
    """One loop, over an embedded PostgreSQL in a temporary folder, on one thread."""
    import torch

    from benchmarks.active_loop.loop import Rounds
    from pipelines.store.embedded import embedded_postgres
    from pipelines.store.store import Store

    async def run(url: str, folder: Path) -> Loop:
        async with Store.open(url) as store:
            rounds = Rounds(subject_of(task), plan, store, folder, strategy=strategy, seed=seed)
            return await rounds.run(lambda one: _tell(task, strategy, seed, one))

    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="prelabel-loop-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the server runs as another user where this one is root
        with embedded_postgres(folder / "store", durable=False) as url:
            return asyncio.run(run(url, folder))


def _tell(task: TaskName, strategy: Strategy, seed: int, one: Round) -> None:
    drop = one.drop[ALL]
    print(
        f"{task}, {strategy}, seed {seed}, round {one.number}: F1 {one.quality[ALL]:.3f}, accepts {drop.coverage:.0%}, "
        f"{drop.dataset_error:.2%} of all wrongly, {one.seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )
