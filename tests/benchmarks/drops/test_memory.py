"""Checks that memory is told by how far the run was, and that a job that grows is seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.drops.command import Annotated, Event
from benchmarks.drops.memory import between, placed, told, watching
from benchmarks.processes import Usage

_MIB = 2**20


def a_usage(at_s: float, mib: float) -> Usage:
    return Usage(
        at_s=at_s,
        memory_bytes={},
        own_bytes={"prelabel": int(mib * _MIB)},
        resident_bytes=int(2 * mib * _MIB),
        cpu_s={},
        open_files=9,
    )


def a_run(*, items: int = 100) -> Annotated:
    """An item a second from second 10 on, told each second, and ten seconds of writing."""
    told = [Event(at_s=10.0 + n, facts={"event": "progress", "finished": n}) for n in range(1, items)]
    facts = {"event": "finished", "finished": items, "stored": items, "elapsed_s": float(items)}
    events = (Event(at_s=10.0, facts={"event": "started"}), *told, Event(at_s=20.0 + items, facts=facts))
    return Annotated(events=events, start_s=0.0, end_s=21.0 + items, out=Path())


def test_each_sample_is_placed_by_the_last_event_before_it() -> None:
    usages = [a_usage(at_s, 100) for at_s in (5.0, 10.5, 35.2, 109.5, 112.0)]

    samples = list(placed(usages, a_run(), items=100))

    assert [sample.share for sample in samples] == [0.0, 0.25, 0.99, None]


def test_the_rate_is_what_was_stored_in_the_time_of_labelling() -> None:
    assert a_run().items_per_s == 1.0


def test_a_job_that_grows_is_seen_and_writing_is_told_apart() -> None:
    usages = [a_usage(10.5 + n, 100 + n) for n in range(100)] + [a_usage(115.0, 500), a_usage(117.0, 450)]
    samples = list(placed(usages, a_run(), items=100))

    early, late = between(samples, 0.20, 0.25), between(samples, 0.95, 1.0)
    figures = told(samples, early, late)

    assert [sum(usage.own_bytes.values()) // _MIB for usage in early] == [120, 121, 122, 123, 124, 125]
    assert [sum(usage.own_bytes.values()) // _MIB for usage in late] == [195, 196, 197, 198, 199]
    assert figures["most_while_labelling_mib"] == 199.0
    assert figures["most_while_writing_mib"] == 500.0
    assert figures["writing_s"] == 2.0
    assert figures["rss_late_mib"] == 394.0
    assert figures["prelabel_mib"] == "122 to 197"


def test_a_run_too_short_to_be_looked_at_is_refused() -> None:
    samples = list(placed([a_usage(10.5, 100)], a_run(), items=100))

    with pytest.raises(RuntimeError, match="20% and 25%"):
        between(samples, 0.20, 0.25)


def test_a_process_that_is_named_after_the_folder_is_watched(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "input()", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process, watching(tmp_path, every_s=0.01) as usages:
        while not any(sum(usage.own_bytes.values()) for usage in usages):
            assert process.poll() is None
        process.communicate(b"\n")

    assert max(usage.resident_bytes for usage in usages) > _MIB
