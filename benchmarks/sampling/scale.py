"""Measures how long a choice among a million items takes, and how much memory, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.judgement import Judgement
from pipelines.sampling import Strategy, select, strategy_named

ITEMS, DIMENSION, BUDGET = 1_000_000, 256, 1_000
QUICK_ITEMS, QUICK_BUDGET = 50_000, 100
_LABELLED, _CLUSTERS, _CHUNK = 1_000, 2_000, 50_000
_MOST_S, _MOST_GIB = 60.0, 4.0


def measure(
    *, items: int, budget: int, strategies: Sequence[Strategy], progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The wall time of one ``select`` with two threads, and its process's largest resident memory, by strategy.

    The embeddings are float16 and lie in a memory-mapped file: clusters of unlike sizes and spreads.
    """
    with TemporaryDirectory(prefix="prelabel-sampling-") as folder:
        file = Path(folder) / "embeddings.npy"
        _write(file, items)
        found = list[dict[str, Any]]()
        for strategy in strategies:
            found.append(_in_a_process(file, strategy, budget))
            progress(f"{strategy}: {found[-1]['wall_s']} s, {found[-1]['peak_gib']} GiB")
    return found


def judgements(found: Sequence[dict[str, Any]]) -> list[Judgement]:
    """Every strategy keeps within a minute and 4 GiB."""
    return [
        judgement
        for one in found
        for judgement in (
            Judgement(
                what=f"{one['strategy']}: {one['budget']:,} of {one['items']:,}",
                value=one["wall_s"],
                bar=_MOST_S,
                direction="below",
                unit="s",
            ),
            Judgement(
                what=f"{one['strategy']}: largest resident memory",
                value=one["peak_gib"],
                bar=_MOST_GIB,
                direction="below",
                unit="GiB",
            ),
        )
    ]


def _write(file: Path, items: int) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(_CLUSTERS, DIMENSION)).astype(np.float32)
    spreads = rng.uniform(0.05, 0.5, size=_CLUSTERS).astype(np.float32)
    share = rng.dirichlet(np.full(_CLUSTERS, 0.5))
    written = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(items, DIMENSION))
    for start in range(0, items, _CHUNK):
        cluster = rng.choice(_CLUSTERS, size=min(_CHUNK, items - start), p=share)
        noise = rng.standard_normal(size=(len(cluster), DIMENSION), dtype=np.float32)
        written[start : start + len(cluster)] = centres[cluster] + spreads[cluster, None] * noise
    written.flush()


def _in_a_process(file: Path, strategy: Strategy, budget: int) -> dict[str, Any]:
    threads = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "benchmarks.sampling.scale", str(file), strategy, str(budget)]
    ended = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if ended.returncode:
        raise RuntimeError(f"the process for {strategy} ended with {ended.returncode}: {ended.stderr[-2_000:]}")
    return json.loads(ended.stdout)


def _run(file: Path, strategy: Strategy, budget: int) -> dict[str, Any]:
    """One selection in this process."""
    import resource
    import time

    embeddings = np.load(file, mmap_mode="r")
    rng = np.random.default_rng(1)
    ids = [f"item-{index}" for index in range(len(embeddings))]
    labelled = [ids[index] for index in rng.choice(len(ids), size=_LABELLED, replace=False)]
    values = {"margin": rng.beta(0.5, 2.0, size=len(ids))}
    values |= {"least_confidence": values["margin"], "entropy": values["margin"]}
    cost, groups = rng.lognormal(3.0, 0.6, size=len(ids)), [f"camera-{index % 20}" for index in range(len(ids))]
    start_s, cpu_s = time.monotonic(), time.process_time()
    chosen = select(ids, embeddings, values, labelled, budget, cost=cost, groups=groups, strategy=strategy, rng=rng)
    return {
        "strategy": strategy,
        "items": len(ids),
        "dimension": embeddings.shape[1],
        "budget": budget,
        "chosen": len(chosen),
        "wall_s": round(time.monotonic() - start_s, 2),
        "cpu_s": round(time.process_time() - cpu_s, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


if __name__ == "__main__":
    _file, _name, _budget = sys.argv[1:]
    print(json.dumps(_run(Path(_file), strategy_named(_name), int(_budget))))
