"""Checks that a comparison measured alone replaces its own figures and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ratios import saved
from benchmarks.ratios.registry import MODULES

NAMES = list(MODULES)


def figures(*names: str, cpu: str = "a CPU", value: float = 1.0, failed: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "machine": {"cpu": cpu, "cores": 4, "libraries": {"torch": "2"}, "load_average_1min": value},
        "ratios": [{"name": name, "median": value} for name in names],
        "skipped": [],
        "failed": [{"name": name, "reason": "it broke"} for name in failed],
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results" / "ratios.json"


def medians(file: Path) -> dict[str, float]:
    return {entry["name"]: entry["median"] for entry in json.loads(file.read_text())["ratios"]}


def test_what_was_not_measured_again_stays_in_the_order_of_the_table(file: Path) -> None:
    saved.save(file, figures("engine_over_bare", "rle"), names=NAMES)

    saved.save(file, figures("noop_http", "rle", value=2.0), names=NAMES)

    assert list(medians(file).items()) == [("engine_over_bare", 1.0), ("noop_http", 2.0), ("rle", 2.0)]


def test_what_breaks_now_does_not_keep_its_old_figure(file: Path) -> None:
    saved.save(file, figures("rle"), names=NAMES)

    saved.save(file, figures(failed=("rle",)), names=NAMES)

    assert medians(file) == {}
    assert json.loads(file.read_text())["failed"] == [{"name": "rle", "reason": "it broke"}]


def test_figures_of_a_comparison_that_exists_no_more_do_not_stay(file: Path) -> None:
    saved.save(file, figures("rle"), names=NAMES)
    file.write_text(file.read_text().replace('"rle"', '"renamed since"'))

    saved.save(file, figures("noop_http"), names=NAMES)

    assert medians(file) == {"noop_http": 1.0}


def test_figures_of_another_machine_do_not_stay(file: Path) -> None:
    saved.save(file, figures("rle", cpu="another CPU"), names=NAMES)

    saved.save(file, figures("noop_http"), names=NAMES)

    assert medians(file) == {"noop_http": 1.0}
