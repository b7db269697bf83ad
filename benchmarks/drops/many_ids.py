"""Measures how soon a job over a million ids has its first result."""

from __future__ import annotations

import signal
import statistics
import subprocess
from collections.abc import Iterable

from benchmarks.drops.command import STOPPED, Annotated, Event, annotate
from benchmarks.drops.work import Work, a_folder, texts
from benchmarks.ratio import Ratio, Rounds, kept

_ALLOWED_S = 5.0


def measure(*, quick: bool) -> Ratio:
    """Seconds until the first outcome is stored, by the five that it may take.

    They begin before the manifest is opened (the run is noted in the store, its models are loaded) and end when the
    command prints a count of stored items above zero, which it does once a second: the true time is up to a second
    shorter. Then one SIGINT ends the command.
    """
    return compare(ids=1_000_000, rounds=1 if quick else 3)


def compare(*, ids: int, rounds: int) -> Ratio:
    """The ratio for a manifest of so many ids."""
    with a_folder() as folder:
        work = texts(folder, ids)
        runs = kept(lambda number: _interrupted(work, f"run-{number}"), rounds=rounds)
    firsts = [first_stored(run) for run in runs.rounds]
    seconds = tuple(float(first.facts["elapsed_s"]) for first in firsts)
    return Ratio(
        name="many_ids",
        ours="first outcome stored of a million ids",
        peer="the time that it may take",
        unit="s",
        rounds=Rounds(ours=seconds, peer=(_ALLOWED_S,) * len(seconds), stolen=runs.stolen, left_out=runs.left_out),
        bar=1.0,
        aim=0.4,
        direction="at_most",
        details={
            "ids": ids,
            "listed_by_then": _median(int(first.facts["listed"]) for first in firsts),
            "stored_by_then": _median(int(first.facts["stored"]) for first in firsts),
            "since_start_of_command_s": _median(
                first.at_s - run.start_s for first, run in zip(firsts, runs.rounds, strict=True)
            ),
            "from_interrupt_to_exit_s": _median(
                run.end_s - first.at_s for first, run in zip(firsts, runs.rounds, strict=True)
            ),
        },
    )


def first_stored(run: Annotated) -> Event:
    """The first event that tells of a stored outcome.

    Raises:
        RuntimeError: there is none.
    """
    for event in run.events:
        if int(event.facts.get("stored", 0)):
            return event
    raise RuntimeError(f"nothing was stored; the command said {[event.name for event in run.events]}")


def _interrupted(work: Work, name: str) -> Annotated:
    """A run that gets one SIGINT when its first outcome is stored."""
    is_sent = False

    def interrupt(event: Event, process: subprocess.Popen[bytes]) -> None:
        nonlocal is_sent
        if not is_sent and event.name == "progress" and int(event.facts["stored"]):
            is_sent = True
            process.send_signal(signal.SIGINT)

    run = annotate(work, name, on_event=interrupt, statuses=(STOPPED,))
    if not is_sent:
        raise RuntimeError("the run ended before it told of anything stored")
    return run


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)
