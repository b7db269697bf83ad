"""Checks that the deaths of replicas are remembered, also of those that could not say a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from serving.crashes import CrashLog


def a_log(folder: Path, *, most: int = 2, now: float = 1000.0) -> CrashLog:
    return CrashLog(folder / "model@1", most=most, clock=lambda: now)


def a_process_that_died(folder: Path) -> None:
    """Leaves what a replica leaves that was killed."""
    script = "import sys, pathlib, serving.crashes as c; c.CrashLog(pathlib.Path(sys.argv[1]), most=2).began()"
    subprocess.run([sys.executable, "-c", script, str(folder / "model@1")], check=True)


def test_without_deaths_a_replica_may_start(tmp_path: Path) -> None:
    log = a_log(tmp_path)

    log.began()

    assert log.verdict() is None
    assert log.recent() == []


def test_one_death_too_many_stops_the_model_and_the_last_reason_is_told(tmp_path: Path) -> None:
    log = a_log(tmp_path)

    log.add("first")
    assert log.verdict() is None
    log.add("an illegal memory access")

    verdict = log.verdict()
    assert verdict is not None
    assert "2 times" in verdict
    assert "an illegal memory access" in verdict


def test_deaths_of_long_ago_do_not_count(tmp_path: Path) -> None:
    for _ in range(5):
        a_log(tmp_path, now=1000.0).add("old")

    assert a_log(tmp_path, now=1000.0 + 599.0).verdict() is not None
    assert a_log(tmp_path, now=1000.0 + 601.0).verdict() is None


def test_a_successor_notes_a_death_without_a_word_once(tmp_path: Path) -> None:
    a_process_that_died(tmp_path)
    log = a_log(tmp_path, now=2e9)

    log.began()
    log.began()

    [crash] = log.recent()
    assert "without a word" in crash.reason


def test_an_orderly_end_is_no_death(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.began()
    log.ended()

    a_log(tmp_path).began()

    assert log.recent() == []


def test_a_neighbour_that_lives_is_not_taken_for_dead(tmp_path: Path) -> None:
    a_log(tmp_path).began()  # this process, which is alive

    a_log(tmp_path).began()

    assert a_log(tmp_path).recent() == []
