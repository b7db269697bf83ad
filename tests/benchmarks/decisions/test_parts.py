"""Checks that the parts of the benchmark are kept side by side."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.decisions import parts


def test_a_part_that_was_not_measured_stays(tmp_path: Path) -> None:
    file = tmp_path / "results" / "decisions.json"

    parts.save(file, {"detector": {"machine": "one", "kept": 0.9}})
    parts.save(file, {"simulated": {"machine": "other", "trials": 5}})
    parts.save(file, {"detector": {"machine": "one", "kept": 1.0}})

    saved = json.loads(file.read_text())
    assert list(saved) == ["simulated", "detector"]
    assert saved == {"simulated": {"machine": "other", "trials": 5}, "detector": {"machine": "one", "kept": 1.0}}


def test_what_is_no_part_goes(tmp_path: Path) -> None:
    file = tmp_path / "decisions.json"
    file.write_text('{"machine": {}, "simulated": {"trials": 5}}')

    parts.save(file, {"detector": {}})

    assert json.loads(file.read_text()) == {"simulated": {"trials": 5}, "detector": {}}


def test_parts_are_chosen_by_name_and_all_without_any() -> None:
    assert parts.chosen(()) == ["simulated", "detector"]
    assert parts.chosen(["detector"]) == ["detector"]


def test_an_unknown_part_is_refused() -> None:
    result = CliRunner().invoke(app, ["decisions", "--only", "weather"])

    assert result.exit_code == 2
    assert "no comparison weather" in result.output
