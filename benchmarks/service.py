"""Starts the real service in a process of its own and sends it load."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

_START_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A service of this run alone: where it answers, and the folder that its processes have in their command lines."""

    address: str
    folder: Path


@contextmanager
def running(config: Mapping[str, object]) -> Iterator[str]:
    """The service of a configuration behind HAProxy, unless it says otherwise, on a free port; yields its address."""
    with started(config) as service:
        yield service.address


@contextmanager
def started(config: Mapping[str, object]) -> Iterator[Started]:
    """The same service, with the folder that it runs in."""
    with tempfile.TemporaryDirectory(prefix="plb", dir="/tmp") as name:
        port, folder = free_port(), Path(name)
        file = folder / "prelabel.yaml"
        file.write_text(yaml.safe_dump(on_its_own(config, port=port, folder=folder)))
        process = launched(file, f"http://127.0.0.1:{port}")
        try:
            yield Started(address=f"http://127.0.0.1:{port}", folder=folder)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=300)


def launched(file: Path, address: str, *, settings: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """``prelabel serve`` with a configuration, once it is ready; it writes ``log`` beside that.

    Args:
        settings: more environment variables, which all its processes inherit.

    Raises:
        RuntimeError: it did not become ready; the message holds the end of its log.
    """
    command = [str(Path(sys.executable).with_name("prelabel")), "serve", "--config", str(file)]
    log_file = file.with_name("log")
    with log_file.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment() | dict(settings or {}))  # noqa: S603 - our own program
    try:
        _wait_until_ready(process, address, log_file)
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)
        raise
    return process


def on_its_own(config: Mapping[str, object], *, port: int, folder: Path) -> dict[str, object]:
    """The configuration with a port and a store of this run alone; what else its server section says stays."""
    server = config.get("server", {})
    if not isinstance(server, Mapping):
        raise TypeError(f"the server section must hold keys and values; got {type(server).__name__}")
    server = {"ingress": "haproxy", **server, "port": port}
    return {**config, "server": server, "store": {"folder": f"{folder}/store"}}


def environment() -> dict[str, str]:
    """This process's environment without prelabel's settings: they could send a benchmark's items into a real store."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("PRELABEL_")}


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the service did not start: {log.read_text()[-2000:]}")


async def label_all(address: str, bodies: Sequence[bytes], *, at_once: int) -> float:
    """Send prepared /v1/prelabel bodies, so many at a time; returns the seconds until the last answer."""
    slots = asyncio.Semaphore(at_once)

    async def send(client: httpx.AsyncClient, body: bytes) -> None:
        async with slots:
            response = await client.post("/v1/prelabel", content=body, headers={"Content-Type": "application/json"})
        response.raise_for_status()
        statuses = {result["status"] for result in response.json()["results"]}
        if "failed" in statuses:
            raise RuntimeError(f"an item of the benchmark failed: {response.text[:500]}")

    async with httpx.AsyncClient(base_url=address, timeout=300.0, trust_env=False) as client:
        start = time.perf_counter()
        await asyncio.gather(*(send(client, body) for body in bodies))
        return time.perf_counter() - start


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
