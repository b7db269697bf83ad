"""Runs comparisons one after the other, each in a process of its own, so that none can disturb the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter

from benchmarks.ratio import Ratio
from benchmarks.ratios.child import SKIPPED

_QUICK_S, _FULL_S = 300.0, 1800.0
_CLEANING_UP_S = 90.0
_SHOWN_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """A comparison that gave no ratio, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of all comparisons: ratios, those whose peer is not here, and those that broke."""

    ratios: tuple[Ratio, ...]
    skipped: tuple[Unmeasured, ...]
    failed: tuple[Unmeasured, ...]

    @property
    def is_met(self) -> bool:
        """Whether all was measured and no bar is missed."""
        return not (self.failed or self.skipped) and all(ratio.met is not False for ratio in self.ratios)


class _Skipped(Exception):
    """The peer is not here."""


class _Failed(Exception):
    """A comparison's process ended without a result."""


def run(
    modules: Mapping[str, str],
    *,
    quick: bool,
    progress: Callable[[str], None],
    keep: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Measure each module (see registry.MODULES).

    Args:
        progress: gets a line before and after each.
        keep: gets what there is after each, so that a run that is cut off loses one comparison at most.
    """
    ratios, skipped, failed = list[Ratio](), list[Unmeasured](), list[Unmeasured]()
    outcome = Outcome(ratios=(), skipped=(), failed=())
    for number, (name, module) in enumerate(modules.items(), start=1):
        progress(f"{number}/{len(modules)} {name} …")
        start = time.monotonic()
        try:
            ratios.append(_measure(module, quick=quick))
        except _Skipped as err:
            skipped.append(Unmeasured(name=name, reason=str(err)))
            progress(f"    skipped: {err}")
        except _Failed as err:
            failed.append(Unmeasured(name=name, reason=str(err)))
            progress(f"    failed: {err}")
        else:
            progress(f"    {ratios[-1].median:.2f}, after {time.monotonic() - start:.0f} s")
        outcome = Outcome(ratios=tuple(ratios), skipped=tuple(skipped), failed=tuple(failed))
        keep(outcome)
    return outcome


def _measure(module: str, *, quick: bool) -> Ratio:
    with tempfile.TemporaryDirectory(prefix="prelabel-ratio-") as folder:
        file, log_file = Path(folder) / "result", Path(folder) / "log"
        command = [sys.executable, "-m", "benchmarks.ratios.child", module, str(file), *(["--quick"] if quick else [])]
        with log_file.open("w") as log:
            status = _status(command, log, limit_s=_QUICK_S if quick else _FULL_S)
        if status == SKIPPED:
            raise _Skipped(file.read_text(encoding="utf-8"))
        if status != 0:
            raise _Failed(f"exit status {status}: {last_words(log_file)}")
        return TypeAdapter(Ratio).validate_json(file.read_bytes())


def _status(command: list[str], log: IO[str], *, limit_s: float) -> int:
    """The exit status of a comparison's process; one that takes too long is interrupted, so that it cleans up."""
    # Both arms compute with as many threads as a replica has, unless they say so; libraries read this when imported.
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)  # noqa: S603 - our own program
    try:
        return process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired as err:
        raise _Failed(f"it took longer than {limit_s:.0f} s") from err
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a process that still runs, so that it cleans up, and kill it if that takes too long."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=_CLEANING_UP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_words(log: Path) -> str:
    """The line in which the last traceback names its error; without a traceback, the last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    tracebacks = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    errors = [line for line in lines[tracebacks[-1] + 1 :] if not line[0].isspace()] if tracebacks else lines[-1:]
    return errors[0][:_SHOWN_CHARS] if errors else "it said nothing"
