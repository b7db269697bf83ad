"""Runs a Ray cluster for one comparison: of one process alone, on loopback, and gone afterwards."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")

_OBJECT_STORE_BYTES = 128 * 2**20
_FLAGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on loopback only, as on other systems
    "RAY_worker_niceness": "0",  # as in the service
}


def apart(measure: Callable[[bool], T], *, quick: bool) -> T:
    """What ``measure`` returns in a fresh process, because Ray reads its environment once, when it is imported."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, quick).result()


@contextmanager
def private(*, nodes: int = 1, cpus: int = 4, with_serve: bool = True) -> Iterator[None]:
    """A cluster of simulated nodes on this machine, with Ray Serve unless it is not wanted; its files go with it.

    Call it in a process that has not imported Ray, and will not start another cluster.
    """
    with tempfile.TemporaryDirectory(prefix="plc", dir="/tmp") as folder:
        os.environ.update(_FLAGS, RAY_TMPDIR=folder)
        with _started(nodes, cpus), _serve() if with_serve else nullcontext():
            yield


@contextmanager
def _started(nodes: int, cpus: int) -> Iterator[None]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": cpus, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False},
    )
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=cpus, object_store_memory=_OBJECT_STORE_BYTES)
        ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        logging.getLogger("ray").setLevel(logging.ERROR)
        yield
    finally:
        with redirect_stdout(StringIO()):
            ray.shutdown()
            cluster.shutdown()


@contextmanager
def _serve() -> Iterator[None]:
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING", "enable_access_log": False})
        yield
    finally:
        with redirect_stdout(StringIO()):  # Ray reports the controller's planned end there
            serve.shutdown()
