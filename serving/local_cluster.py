"""Starts a Ray cluster of this machine and this process alone, and ends it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

_OBJECT_STORE_BYTES = 256 * 2**20


@contextmanager
def local_cluster(*, num_cpus: int) -> Iterator[None]:
    """A new cluster, so nobody else's is touched; its flags (serving/ray_flags.py) must be set by now."""
    import ray

    ray.init(
        "local",
        num_cpus=num_cpus,
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    _hide_token()
    for name in ("ray", "ray.serve", "ray.data"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        with redirect_stdout(StringIO()):  # Ray writes there, and results go there
            ray.shutdown()


def _hide_token() -> None:
    """Ray writes its token readable for all; nobody else on the machine needs it."""
    token = Path("~/.ray/auth_token").expanduser()
    if token.exists():
        token.chmod(0o600)
