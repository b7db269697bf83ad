"""Starts label-studio-ml's server as its container file does."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.peers.environment import python_of
from benchmarks.peers.process import serving

PEER = "label_studio_ml"
LIBRARIES = ("label-studio-ml", "flask", "gunicorn")
PATH = "/predict"

_APPS = Path(__file__).parent / "apps"
_LABEL_CONFIG = """
<View>
  <Labels name="label" toName="text">
    <Label value="person"/><Label value="organisation"/><Label value="place"/><Label value="date"/>
  </Labels>
  <Text name="text" value="$text"/>
</View>
"""
_SETUP = {"project": "1.1", "schema": _LABEL_CONFIG}


@contextmanager
def backend(
    model: str, *, workers: int = 1, threads: int = 8, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A backend of one model ("file:Class" in apps/), set up as Label Studio does it; yields its address.

    ``label-studio-ml init`` writes the project, gunicorn runs its ``_wsgi:app`` with the options of its container file,
    ``--preload --workers 1 --threads 8 --timeout 0``, unless others are given.

    Raises:
        PeerMissing: label-studio-ml is not installed.
    """
    python = python_of(PEER)
    file, _, model_class = model.partition(":")
    with tempfile.TemporaryDirectory(prefix="lsml", dir="/tmp") as folder:
        init = [
            str(python.with_name("label-studio-ml")),
            "init",
            "backend",
            "--script",
            f"{_APPS / file}:{model_class}",
        ]
        subprocess.run(init, cwd=folder, check=True, capture_output=True)  # noqa: S603 - a peer that the user installed
        gunicorn = [str(python), "-m", "gunicorn", "--preload", "--bind", "127.0.0.1:{port}", "--timeout", "0"]
        options = ["--workers", str(workers), "--threads", str(threads), "--chdir", f"{folder}/backend", "_wsgi:app"]
        with serving([*gunicorn, *options], ready="/health", settings=settings or {}) as address:
            httpx.post(f"{address}/setup", json=_SETUP, timeout=120, trust_env=False).raise_for_status()
            yield address


def tasks_of(texts: list[str]) -> dict[str, object]:
    """A /predict call for some texts, as Label Studio sends it."""
    tasks = [{"id": n, "data": {"text": text}} for n, text in enumerate(texts)]
    return {"tasks": tasks, "project": "1.1", "label_config": _LABEL_CONFIG, "params": {"context": None}}
