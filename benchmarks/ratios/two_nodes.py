"""Compares a model deployment on two simulated nodes with the same on one."""

from __future__ import annotations

from importlib.metadata import version

from benchmarks import cluster
from benchmarks.ratio import Ratio, interleaved
from benchmarks.sleeper import MAX_ITEMS, MOST_ITEMS_PER_S

_AT_ONCE_PER_NODE = 32


def measure(*, quick: bool) -> Ratio:
    """Items per second: two replicas on two nodes / one replica on one, through Serve handles from one client.

    The nodes are two raylets on this machine, so the model sleeps (250 ms and 1 ms for each item, batches of at most
    8) instead of computing: this measures that calls spread, not that hardware adds up.
    """
    return cluster.apart(_measure, quick=quick)


def _measure(quick: bool) -> Ratio:
    rounds, seconds = (3, 3.0) if quick else (7, 5.0)
    with cluster.private(nodes=2):
        from benchmarks.ratios.sleeping_model import deployed, items_per_s

        handles = {nodes: deployed(f"on-{nodes}", replicas=nodes) for nodes in (1, 2)}
        seen: dict[int, set[str]] = {1: set(), 2: set()}

        def rate(nodes: int) -> float:
            answered, by = items_per_s(handles[nodes], seconds=seconds, at_once=nodes * _AT_ONCE_PER_NODE)
            seen[nodes] |= by
            return answered

        measured = interleaved(lambda: rate(2), lambda: rate(1), rounds=rounds)
    if (len(seen[1]), len(seen[2])) != (1, 2):
        raise RuntimeError(f"the arms ran on {len(seen[1])} and {len(seen[2])} nodes instead of 1 and 2")
    return Ratio(
        name="two_nodes",
        ours="a replica on each of two nodes",
        peer="one replica",
        unit="items/s",
        rounds=measured,
        bar=1.8,
        aim=1.95,
        details={
            "seconds": seconds,
            "at_once_per_node": _AT_ONCE_PER_NODE,
            "max_batch": MAX_ITEMS,
            "ceiling_items_per_s_per_node": round(MOST_ITEMS_PER_S, 1),
            "ray": version("ray"),
        },
    )
