"""Runs a real Label Studio on a loopback port, in an environment of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from serving import listeners

ENVIRONMENT = Path(__file__).parents[2] / ".venv-label-studio"
USER = "admin@example.com"
PASSWORD = "Passw0rd!x"
LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"
_FIRST_START_S = 300.0  # 42 s on an idle core: migrations of an empty database
_START_S = 120.0  # 4 s on an idle core
_END_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStudioServer:
    """A server that runs; ``url`` has no slash at its end."""

    url: str
    pid: int
    folder: Path
    log_file: Path

    @property
    def token(self) -> str:
        """The legacy token of its only user."""
        return LEGACY_TOKEN

    def log(self) -> str:
        """What it has printed until now."""
        return self.log_file.read_text(errors="replace")

    def client(self, timeout_s: float = 120.0) -> httpx.Client:
        """A plain client that is the server's only user; close it."""
        headers = {"Authorization": f"Token {LEGACY_TOKEN}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False)


@contextmanager
def label_studio(
    folder: Path, *, environment: Mapping[str, str] | None = None, arguments: tuple[str, ...] = ()
) -> Iterator[LabelStudioServer]:
    """Run Label Studio on a copy of a migrated data folder.

    Args:
        folder: an empty or missing folder that becomes its data folder.
        environment: settings that stand against the ones below, such as ``ML_BLOCK_LOCAL_IP``.
        arguments: more words for ``label-studio start``.
    """
    shutil.copytree(_migrated(), folder, dirs_exist_ok=True)
    with _running(folder, environment or {}, arguments, limit_s=_START_S) as server:
        yield server


def _migrated() -> Path:
    """A data folder with all tables and the user in it; made once for an environment, then only copied."""
    made = ENVIRONMENT / "migrated"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=ENVIRONMENT) as scratch:
            folder = Path(scratch) / "data"
            folder.mkdir()
            with _running(folder, {}, (), limit_s=_FIRST_START_S):
                pass
            try:
                folder.rename(made)
            except OSError:  # another session was quicker
                assert made.exists()
    return made


@contextmanager
def _running(
    folder: Path, environment: Mapping[str, str], arguments: tuple[str, ...], *, limit_s: float
) -> Iterator[LabelStudioServer]:
    port = _free_port()
    log_file = folder / "label-studio.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*_command(port), *arguments],
            env={**_settings(folder, port), **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
        )
    server = LabelStudioServer(url=f"http://127.0.0.1:{port}", pid=process.pid, folder=folder, log_file=log_file)
    try:
        _wait_until_up(server, process, port, limit_s)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(port: int) -> list[str]:
    program = ENVIRONMENT / "bin" / "label-studio"
    assert program.exists(), f"{program} is missing; run 'make test-label-studio'"
    start = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    user = ["--username", USER, "--password", PASSWORD, "--user-token", LEGACY_TOKEN, "--enable-legacy-api-token"]
    return [str(ENVIRONMENT / "bin" / "python"), str(program), *start, *user, "--log-level", "INFO"]


def _settings(folder: Path, port: int) -> dict[str, str]:
    """Nothing of our own environment but the path; no call leaves the machine."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_HOST": f"http://127.0.0.1:{port}",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
    }


def _wait_until_up(server: LabelStudioServer, process: subprocess.Popen[bytes], port: int, limit_s: float) -> None:
    ends_at = time.monotonic() + limit_s
    while time.monotonic() < ends_at:
        assert process.poll() is None, f"Label Studio ended with {process.returncode}:\n{server.log()[-4000:]}"
        # It takes the next port in silence when its own is taken; whoever answers there would be somebody else.
        assert f"Port {port} is in use" not in server.log(), f"port {port} was taken from Label Studio"
        try:
            if httpx.get(f"{server.url}/health", timeout=5.0, trust_env=False).json() == {"status": "UP"}:
                assert port in _ports(process.pid), f"process {process.pid} does not listen on {port}"
                return
        except (httpx.HTTPError, ValueError):
            time.sleep(0.1)
    raise AssertionError(f"Label Studio was not up in {limit_s:.0f} s:\n{server.log()[-4000:]}")


def _ports(pid: int) -> set[int]:
    return {listener.port for listener in listeners.of_tree(pid)}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
