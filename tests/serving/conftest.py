"""Starts the real service once for all tests that need Ray."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

PRELABEL = str(Path(sys.executable).with_name("prelabel"))
PRESET = Path(__file__).parents[2] / "serving" / "presets" / "demo.yaml"


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[str]:
    """The address of ``prelabel serve`` with the demo models, in a process of its own."""
    with served(demo_config() | {"store": {"url": postgres_server}}, tmp_path_factory.mktemp("service")) as running:
        yield running.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A service that runs."""

    process: subprocess.Popen[bytes]
    address: str


def demo_config() -> dict[str, Any]:
    """The preset demo, as a file elsewhere may say it."""
    config = yaml.safe_load(PRESET.read_text())
    return config | {"models": [str((PRESET.parent / card).resolve()) for card in config["models"]]}


@contextmanager
def served(config: dict[str, Any], folder: Path) -> Iterator[Served]:
    """``prelabel serve`` on a free port; it must end well when it is told to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = config | {"server": {"port": port} | config.get("server", {})}
    (folder / "prelabel.yaml").write_text(yaml.safe_dump(config))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([PRELABEL, "serve"], cwd=folder, stdout=log, stderr=log)
        try:
            _wait(process, f"http://127.0.0.1:{port}/readyz", folder / "log")
            yield Served(process=process, address=f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url, timeout=5).status_code == 200 and "answering" in log.read_text():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the service was not ready in time: {log.read_text()}")
