"""Checks that comparisons run apart from each other, and that none goes missing."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import machine
from benchmarks.__main__ import app
from benchmarks.ratios import report, runner
from benchmarks.ratios.registry import FURTHER, MODULES, chosen
from benchmarks.ratios.runner import Outcome

COMPARISONS = "tests.benchmarks.ratios.comparisons"
NAMES = ("broken", "without_peer", "crashing", "unwritten", "tiny")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def outcome(lines: list[str]) -> Outcome:
    """Of five comparisons, of which only the last gives a ratio."""
    modules = {name: f"{COMPARISONS}.{name}" for name in NAMES}
    return runner.run(modules, quick=True, progress=lines.append)


@pytest.fixture(scope="module")
def written(outcome: Outcome) -> dict[str, Any]:
    return json.loads(json.dumps(report.as_json(outcome, machine.here())))


def test_a_quick_run_leaves_out_further_peers_unless_they_are_named() -> None:
    assert chosen((), quick=False) == MODULES
    assert set(MODULES) - set(chosen((), quick=True)) == FURTHER
    assert list(chosen(("ner_litserve",), quick=True)) == ["ner_litserve"]


def test_a_ratio_is_written_with_its_arms_its_bar_and_what_it_was_measured_on(written: dict[str, Any]) -> None:
    [ratio] = written["ratios"]

    details = ratio.pop("details")
    assert ratio == {
        "name": "tiny",
        "ours": "ours",
        "peer": "theirs",
        "unit": "items/s",
        "median": 2.0,
        "low": 1.0,
        "high": 3.0,
        "bar": 1.5,
        "aim": 3.0,
        "met": True,
        "direction": "at_least",
        "rounds": {"ours": [2.0, 6.0, 4.0], "peer": [2.0, 2.0, 2.0], "stolen": [0.0, 0.02, 0.01], "left_out": 1},
    }
    assert details["quick"] == 1
    assert details.keys() >= {"load_average_start", "load_average_end"}
    assert written["machine"]["cores"] > 0


def test_a_missing_peer_is_listed_with_its_reason(written: dict[str, Any]) -> None:
    assert written["skipped"][0] == {
        "name": "without_peer",
        "reason": "there is no gliner here; install it with make peers",
    }


def test_a_comparison_without_a_file_is_listed(written: dict[str, Any]) -> None:
    assert written["skipped"][1]["name"] == "unwritten"
    assert "comparisons.unwritten" in written["skipped"][1]["reason"]


def test_a_comparison_that_raises_is_listed_with_its_error(outcome: Outcome) -> None:
    assert outcome.failed[0].name == "broken"
    assert outcome.failed[0].reason.endswith("ArmsDiffer: text 3 has other entities")


def test_a_comparison_whose_process_dies_disturbs_no_other(outcome: Outcome) -> None:
    assert outcome.failed[1].name == "crashing"
    assert "exit status -9" in outcome.failed[1].reason
    assert [ratio.name for ratio in outcome.ratios] == ["tiny"]


def test_progress_names_every_comparison(outcome: Outcome, lines: list[str]) -> None:
    assert [line for line in lines if not line.startswith(" ")] == [
        f"{number}/5 {name} …" for number, name in enumerate(NAMES, start=1)
    ]


def test_the_table_shows_every_comparison(outcome: Outcome) -> None:
    shown = Console(file=io.StringIO(), width=160, record=True)

    shown.print(report.as_table(outcome, machine.here()))

    text = shown.export_text()
    assert [name for name in NAMES if name not in text] == []
    assert "1.00 to 3.00" in text


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    result = CliRunner().invoke(app, ["ratios", "--only", "rle", "--only", "fastest"], env={"COLUMNS": "200"})

    assert result.exit_code == 2
    assert "no comparison fastest" in result.output
    assert "rle" in result.output


def test_the_names_are_stable() -> None:
    assert set(MODULES) == {
        "service_over_bare", "engine_over_bare", "noop_http", "label_studio_predict", "ner_bucketed",
        "ner_gliner_serve", "ner_litserve", "ner_fastapi", "speech_batched", "late_binding", "two_nodes", "rle",
    }  # fmt: skip
