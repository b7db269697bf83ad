"""Checks how the kernel's count of processor time is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import stolen
from benchmarks.stolen import ProcessorTime

_TWO_MOMENTS = (
    "cpu  1000 50 200 9000 10 5 15 300 7 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n",
    "cpu  1090 50 210 9900 90 5 15 400 7 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n",
)


def test_the_share_is_of_what_was_wanted_and_idle_cores_do_not_count(tmp_path: Path) -> None:
    moments = list[ProcessorTime]()
    for number, text in enumerate(_TWO_MOMENTS):
        file = tmp_path / f"stat{number}"
        file.write_text(text)
        moments.append(stolen.now(file))

    assert stolen.share(*moments) == pytest.approx(0.5)  # 90 + 10 ticks ran, 100 were stolen


def test_this_machine_counts_the_processor_time_that_is_used() -> None:
    before = stolen.now()
    sum(range(5_000_000))
    used_s = stolen.now().used_s - before.used_s

    assert used_s > 0.0


def test_where_the_kernel_does_not_count_nothing_is_stolen(tmp_path: Path) -> None:
    moment = stolen.now(tmp_path / "no such file")

    assert stolen.share(moment, moment) == 0.0
