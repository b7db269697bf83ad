"""Starts a peer's server in its own environment and ends it, with everything that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from benchmarks.service import free_port

_START_S = 600.0
_STOP_S = 30.0

# One compute thread on both sides: a replica of ours computes in one.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def serving(command: Sequence[str], *, ready: str, settings: Mapping[str, str]) -> Iterator[str]:
    """A server that is started with ``command``; yields its address once ``ready`` (a path) answers.

    ``{port}`` in the command becomes a free loopback port. The server runs in a folder of its own and, with its
    children, in a process group of its own, which ends with it.

    Raises:
        RuntimeError: it ended, or did not answer within three minutes; the message holds the end of its log.
    """
    port = free_port()
    environment = {**os.environ, **ONE_THREAD, **OFFLINE, **settings}
    with tempfile.TemporaryDirectory(prefix="peer", dir="/tmp") as folder, (Path(folder) / "log").open("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - a peer that the user installed
            [part.replace("{port}", str(port)) for part in command],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}{ready}", Path(log.name))
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{process.args} did not start: {log.read_text()[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then end what is left of its group."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
