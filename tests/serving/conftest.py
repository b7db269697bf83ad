"""Starts the real service once for all tests that need Ray."""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import yaml
from PIL import Image

from serving.demo import DROP

PRELABEL = str(Path(sys.executable).with_name("prelabel"))
PRESET = Path(__file__).parents[2] / "serving" / "presets" / "demo.yaml"


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[str]:
    """The address of ``prelabel serve`` with the demo models, in a process of its own; it may open the sample drop."""
    config = demo_config() | {"store": {"url": postgres_server}, "fetch": {"roots": [str(DROP)]}}
    with served(config, tmp_path_factory.mktemp("service")) as running:
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
            assert "INFO" not in (folder / "log").read_text()  # what it says is for its user, and not Ray Serve's
            yield Served(process=process, address=f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=300) == 0, (folder / "log").read_text()


@contextmanager
def sent(address: str, body: object) -> Iterator[None]:
    """A request whose answer nobody reads: the connection is closed at the end, and a header asks to go on then."""
    content, url = orjson.dumps(body), httpx.URL(address)
    head = f"POST /v1/prelabel HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nContent-Type: application/json\r\n"
    head += "x-request-disconnect-disabled: ?1\r\n"
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        yield


def forwarded_after_leaving(client: httpx.Client, items: list[dict[str, str]]) -> int:
    """How many of these images a detector computes when their sender leaves as soon as it works on them."""

    def engine() -> dict[str, int]:
        models = client.get("/v1/models").json()["models"]
        return next(model["engine"] for model in models if model["task"] == "detection")

    before = engine()["items"]
    with sent(str(client.base_url), {"items": items}):
        while not engine()["in_flight"]:
            pass
    while engine()["in_flight"]:
        pass
    return engine()["items"] - before


def noisy_pngs(count: int) -> list[dict[str, str]]:
    """Items for detection, each with an image of its own, as equal ones would be computed once."""
    images = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)
    return [{"id": str(n), "task": "detection", "data": _png(image)} for n, image in enumerate(images)]


def _png(image_rgb: np.ndarray) -> str:
    file = BytesIO()
    Image.fromarray(image_rgb).save(file, "PNG", compress_level=0)
    return base64.b64encode(file.getvalue()).decode()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url, timeout=30).status_code == 200 and "answering" in log.read_text():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the service was not ready in time: {log.read_text()}")
