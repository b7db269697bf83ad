"""Runs a program that labels a folder without prelabel's batch job: ``python -m MODULE CONFIG FOLDER RESULTS``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drops.work import Work
from benchmarks.ratios.runner import end, last_words
from benchmarks.service import environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What such a program did.

    ``labelling_s`` is its own figure, without imports and the loading of the model; ``wall_s`` is from its start to its
    exit.
    """

    items: int
    labelling_s: float
    wall_s: float
    results: Path

    @property
    def items_per_s(self) -> float:
        return self.items / self.labelling_s


def label(module: str, work: Work, name: str) -> Peer:
    """Run the program once.

    Args:
        name: of this run; its log and results lie under it in the work's folder.

    Raises:
        RuntimeError: the program failed; the message holds the end of its log.
    """
    folder = work.folder / name
    folder.mkdir()
    results, log_file = folder / "results", folder / "log"
    command = [sys.executable, "-m", module, str(work.config), str(work.drop), str(results)]
    start = time.monotonic()
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment())  # noqa: S603 - our own program
        try:
            said, _ = process.communicate()
        finally:
            end(process)
    wall_s = time.monotonic() - start
    if process.returncode != 0:
        raise RuntimeError(f"{module} ended with {process.returncode}: {last_words(log_file)}")
    told = json.loads(said.splitlines()[-1])
    return Peer(items=told["items"], labelling_s=told["seconds"], wall_s=wall_s, results=results)
