"""Compares a drop that workers on two simulated nodes label with the same on one."""

from __future__ import annotations

import asyncio
import math
import statistics
from importlib.metadata import version
from pathlib import Path

from benchmarks import cluster
from benchmarks.drops.work import a_folder
from benchmarks.ratio import Ratio, interleaved
from benchmarks.sleeper import MAX_ITEMS, MOST_ITEMS_PER_S
from pipelines.store.embedded import embedded_postgres


def measure(*, quick: bool) -> Ratio:
    """Items per second: two workers on two nodes / one worker on one, with the real listing, store and pool.

    The nodes are two raylets on this machine, each with room for one worker, and so the model sleeps instead of
    computing: this measures that a drop spreads, not that hardware adds up. The workers are there when a run begins.
    """
    return cluster.apart(_measure, quick=quick)


def _measure(quick: bool) -> Ratio:
    rounds, seconds = (2, 6.0) if quick else (5, 12.0)
    return compare(items_per_node=math.ceil(seconds * MOST_ITEMS_PER_S), rounds=rounds)


def compare(*, items_per_node: int, rounds: int) -> Ratio:
    """The ratio; call it in a process that has not imported Ray (cluster.private)."""
    with (
        a_folder() as folder,
        cluster.private(nodes=2, cpus=1, with_serve=False),
        embedded_postgres(folder / "store") as url,
    ):
        from benchmarks.drops.sleeping_labeller import Labelling, run, write_manifest

        runs: dict[int, list[Labelling]] = {1: [], 2: []}

        def rate(nodes: int, manifest: Path) -> float:
            runs[nodes].append(asyncio.run(run(url, manifest, workers=nodes)))
            if len(runs[nodes][-1].items_by_node) != nodes:
                raise RuntimeError(f"wanted {nodes} nodes; the items were labelled by {runs[nodes][-1].items_by_node}")
            return runs[nodes][-1].items_per_s

        manifests = {n: write_manifest(folder / f"{n}.jsonl", n * items_per_node) for n in runs}
        measured = interleaved(lambda: rate(2, manifests[2]), lambda: rate(1, manifests[1]), rounds=rounds, warm_up=0)
    return Ratio(
        name="two_nodes",
        ours="a worker on each of two nodes",
        peer="one worker",
        unit="items/s",
        rounds=measured,
        bar=1.8,
        aim=1.95,
        details={
            "items_per_node": items_per_node,
            "labelling_s": round(statistics.median(run.seconds for run in runs[2]), 2),
            "items_by_node": ", ".join(str(n) for n in sorted(runs[2][-1].items_by_node.values())),
            "max_batch": MAX_ITEMS,
            "ceiling_items_per_s_per_node": round(MOST_ITEMS_PER_S, 1),
            "ray": version("ray"),
        },
    )
