"""Runs ``prelabel annotate … --json`` as a user does, and hears what it says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.drops.work import Work
from benchmarks.ratios.runner import end, last_words
from benchmarks.service import environment

STOPPED = 130  # the exit status of a run that was interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line that the command printed, and when it came, in the monotonic clock."""

    at_s: float
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.facts["event"])

    @property
    def finished(self) -> int:
        """Items that have an outcome by now; 0 where the event says nothing of it."""
        return int(self.facts.get("finished", 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """What a run of the command said, when it started and ended in the monotonic clock, and where its results lie."""

    events: Sequence[Event]
    start_s: float
    end_s: float
    out: Path

    @property
    def wall_s(self) -> float:
        """From its start to its exit."""
        return self.end_s - self.start_s

    @property
    def labelling_s(self) -> float:
        """From the moment before the first item was listed until the last outcome was stored."""
        return float(self.events[-1].facts["elapsed_s"])

    @property
    def items_per_s(self) -> float:
        return int(self.events[-1].facts["stored"]) / self.labelling_s


def annotate(
    work: Work,
    name: str,
    *,
    on_event: Callable[[Event, subprocess.Popen[bytes]], None] = lambda event, process: None,
    statuses: Collection[int] = (0,),
) -> Annotated:
    """Label the work's drop with an embedded PostgreSQL that is new, so that each run pays for its making.

    Args:
        name: of this run; its store, log and results lie under it in the work's folder.
        on_event: is told each event as it comes, and may send the process a signal.
        statuses: exit statuses that are no failure.

    Raises:
        RuntimeError: the command ended otherwise, or an item failed; the message holds the end of its log.
    """
    folder = work.folder / name
    folder.mkdir()
    command = [
        *(str(Path(sys.executable).with_name("prelabel")), "annotate", str(work.drop), "--task", work.task),
        *("--out", str(folder / "out"), "--config", str(work.config), "--json"),
    ]
    settings = environment() | {"PRELABEL_STORE__FOLDER": str(folder / "store")}
    start_s = time.monotonic()
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=settings) as process,  # noqa: S603 - our own program
    ):
        try:
            events = list[Event]()
            for line in process.stdout or ():
                events.append(Event(at_s=time.monotonic(), facts=json.loads(line)))
                on_event(events[-1], process)
            status = process.wait()
        finally:
            end(process)
    end_s = time.monotonic()
    if status not in statuses or not events or events[-1].name != "finished":
        raise RuntimeError(f"prelabel annotate ended with {status}: {last_words(folder / 'log')}")
    return Annotated(events=events, start_s=start_s, end_s=end_s, out=folder / "out")
