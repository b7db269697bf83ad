"""Starts a Ray cluster of simulated nodes on this machine; as a program, until its input ends."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from serving.ray_flags import COMMON

_SEE_DEATHS_SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}


@dataclass(frozen=True)
class Nodes:
    """A cluster's address, and the processes that are its nodes, the head first."""

    address: str
    pids: list[int]


@contextmanager
def simulated_nodes(nodes: int) -> Iterator[Nodes]:
    """Nodes with one processor each, in a process that has not imported Ray; their files go with them."""
    with tempfile.TemporaryDirectory(prefix="pln", dir="/tmp") as folder:  # sockets need short paths
        os.environ.update(COMMON, RAY_TMPDIR=folder)
        with _started(nodes) as started:
            yield started


@contextmanager
def _started(nodes: int) -> Iterator[Nodes]:
    from ray.cluster_utils import Cluster

    each: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 128 * 2**20}
    head = each | {"include_dashboard": False, "_system_config": _SEE_DEATHS_SOON}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        started = [cluster.head_node, *(cluster.add_node(**each) for _ in range(nodes - 1))]
        yield Nodes(str(cluster.address), [node.all_processes["raylet"][0].process.pid for node in started])
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    with simulated_nodes(int(sys.argv[1])) as started:
        print(started.address, flush=True)
        sys.stdin.read()
