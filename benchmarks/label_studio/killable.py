"""Runs the service so that all of it can be killed at one moment, and started again where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import orjson
import yaml

from benchmarks import processes, service
from benchmarks.label_studio.platform import Platform, Project

_MARK = "BENCHMARK_SERVICE"  # an environment variable that every process of the service inherits
_PROC = Path("/proc")
_DIES_S = 30.0
_CONNECTS_S = 120.0


class Killable:
    """The service of one folder and port. It runs after ``start`` until ``kill`` or ``stop``."""

    def __init__(self, folder: Path, config: Mapping[str, object]) -> None:
        self.folder, port = folder, service.free_port()
        self.address = f"http://127.0.0.1:{port}"
        self._file = folder / "prelabel.yaml"
        self._file.write_text(yaml.safe_dump(service.on_its_own(config, port=port, folder=folder)))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; the seconds until it was ready.

        Raises:
            RuntimeError: it did not become ready.
        """
        start_s = time.monotonic()
        self._process = service.launched(self._file, self.address, settings={_MARK: str(self.folder)})
        return time.monotonic() - start_s

    def kill(self) -> list[int]:
        """SIGKILL every process of the service: its own, Ray's, PostgreSQL's; their ids.

        Raises:
            RuntimeError: some are still there.
        """
        found, until = list[int](), time.monotonic() + _DIES_S
        while there := self.pids():
            if time.monotonic() > until:
                raise RuntimeError(f"processes {there} live on after SIGKILL")
            for pid in there:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            found.extend(pid for pid in there if pid not in found)
            if self._process is not None:
                self._process.wait(timeout=_DIES_S)
            time.sleep(0.02)
        self._process = None
        return found

    def pids(self) -> list[int]:
        """All its processes that run."""
        mark = f"{_MARK}={self.folder}".encode()
        marked = {int(folder.name) for folder in _PROC.iterdir() if folder.name.isdecimal() and _has(folder, mark)}
        return sorted(pid for pid in marked | set(processes.named_after(self.folder)) if not _is_zombie(pid))

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=300)
            self._process = None

    def connect(self, platform: Platform, project: Project, *, by: str | None = None) -> str:
        """``prelabel label-studio connect --on-demand``; the connection's id.

        Args:
            by: how Label Studio reaches the service, if not directly.

        Raises:
            RuntimeError: it did not work; the message says why.
        """
        command = [
            *(str(Path(sys.executable).with_name("prelabel")), "label-studio", "connect", platform.url),
            *("--project", str(project.id), "--token", platform.token, "--service", by or self.address),
            *("--on-demand", "--json", "--config", str(self._file)),
        ]
        done = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, timeout=_CONNECTS_S, env=service.environment(), check=False
        )
        if done.returncode:
            raise RuntimeError(f"'prelabel label-studio connect' ended with {done.returncode}: {done.stderr[-1000:]}")
        return str(orjson.loads(done.stdout)["connection"])

    def log(self) -> str:
        """What it has said since it was started last."""
        return self._file.with_name("log").read_text(errors="replace")

    def run_of(self, connection_id: str) -> dict[str, object] | None:
        """The state of the newest run that was posted for a connection; None while there is none."""
        drop = f"label-studio:{connection_id}"
        with httpx.Client(base_url=self.address, timeout=30.0, trust_env=False) as client:
            runs: Sequence[dict[str, object]] = client.get("/v1/runs").raise_for_status().json()["runs"]
            ids = [run["id"] for run in runs if run["source"] == {"drop": drop}]
            return client.get(f"/v1/runs/{ids[0]}").raise_for_status().json() if ids else None


@contextmanager
def killable(config: Mapping[str, object]) -> Iterator[Killable]:
    """A service in a folder of its own, not started yet; whatever runs of it at the end is ended."""
    with tempfile.TemporaryDirectory(prefix="plk", dir="/tmp", ignore_cleanup_errors=True) as name:
        service_of_folder = Killable(Path(name), config)
        try:
            yield service_of_folder
            service_of_folder.stop()
        finally:
            service_of_folder.kill()


def _has(folder: Path, mark: bytes) -> bool:
    try:
        return mark in (folder / "environ").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return False


def _is_zombie(pid: int) -> bool:
    """Whether it has ended, and only its parent has not noticed."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
