"""Finds the environment that a peer is installed in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2] / ".venv-peers"

_VERSIONS = """
import json, sys
from importlib.metadata import version
json.dump({name: version(name) for name in sys.argv[1:]}, sys.stdout)
"""


class PeerMissing(Exception):
    """What a comparison needs is not installed; the message says what, and how to get it."""


def python_of(peer: str, *, root: Path = ROOT) -> Path:
    """The interpreter of a peer's environment.

    Raises:
        PeerMissing: the environment has not been built.
    """
    folder = root / peer
    if not (folder / ".complete").exists():
        raise PeerMissing(f"the peer '{peer}' is not installed in {folder}; run 'make bench-peers'")
    return folder / "bin" / "python"


def versions_of(peer: str, libraries: Sequence[str]) -> str:
    """The versions of libraries in a peer's environment, as text.

    Raises:
        PeerMissing: the environment has not been built.
    """
    command = [str(python_of(peer)), "-c", _VERSIONS, *libraries]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    return ", ".join(f"{name} {version}" for name, version in json.loads(found.stdout).items())
