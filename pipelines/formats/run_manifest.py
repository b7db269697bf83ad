"""Writes run.json: what a folder of results came from, and the digests of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from models.errors import ConfigError
from models.types import Task
from pipelines.remarks import FindingCount, Remarks, UnmappedCount
from pipelines.store.values import ErrorCount, RunStatus, TaskCounts

FILE = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """A file of the folder: its name, rows, size in bytes and sha256 in hex."""

    name: str
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """A run as its output folder states it.

    ``source`` says where the items came from, ``models`` what labelled them, down to the digests of weights and
    configuration, ``seconds`` how long the last attempt took. ``findings`` counts what the sanity rules found,
    ``unmapped`` the models' labels that mean no class of the ontology. While a run goes on, counts and files are
    missing.
    """

    run: str
    status: RunStatus
    task: Task
    source: dict[str, str]
    models: dict[str, str] = field(default_factory=dict)
    policy: str | None = None
    calibration: str | None = None
    rules_digest: str | None = None
    ontology_digest: str | None = None
    code_version: str
    created_at: datetime
    finished_at: datetime | None = None
    attempts: int = 1
    seconds: float | None = None
    counts: TaskCounts | None = None
    errors: tuple[ErrorCount, ...] = ()
    findings: tuple[FindingCount, ...] = ()
    unmapped: tuple[UnmappedCount, ...] = ()
    files: tuple[OutputFile, ...] = ()

    @property
    def remarks(self) -> Remarks:
        return Remarks(findings=self.findings, unmapped=self.unmapped)


_MANIFEST = TypeAdapter(RunManifest)


def write(manifest: RunManifest, out: Path) -> None:
    """Put run.json into the folder, whole or not at all."""
    unfinished = out / f".{FILE}.unfinished"
    with unfinished.open("wb") as file:
        file.write(_MANIFEST.dump_json(manifest, indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(out / FILE)


def read(out: Path) -> RunManifest | None:
    """The run.json of a folder; None where there is none.

    Raises:
        ConfigError: there is one, and it cannot be read.
    """
    try:
        return _MANIFEST.validate_json((out / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as err:
        raise ConfigError(f"{out / FILE} is no manifest of a run; name another folder, or remove it") from err
