"""Checks what is judged of certified auto-acceptance, and how it is shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import machine
from benchmarks.decisions import command
from benchmarks.decisions.command import Decisions
from benchmarks.decisions.populations import POPULATIONS
from benchmarks.decisions.trials import METHODS, SPREAD, Cell, measured

SAVED = Path(command.__file__).parents[1] / "results" / "decisions.json"


def some_decisions(**changed: Cell) -> Decisions:
    """Ours accept a half and keep their promise; others break theirs if they have no proof, or accept less."""
    broken = {"selective CRC", "plug-in", "CRC, dataset error", "plug-in, dataset error"}
    cells = {
        method.name: Cell(violation=0.5 if method.name in broken else 0.03, coverage=0.5 if method.is_ours else 0.2)
        for method in METHODS
    }
    return Decisions(trials=1_000, cells={(name, n): cells | changed for name in POPULATIONS for n in command.SAMPLES})


def test_ours_are_met_if_valid_and_ahead_of_the_valid_peers() -> None:
    decisions = some_decisions()

    assert decisions.bar == pytest.approx(0.0707, abs=1e-4)
    assert command.report(decisions).is_met


@pytest.mark.parametrize(
    "changed",
    [
        {SPREAD: Cell(violation=0.08, coverage=0.5)},
        {SPREAD: Cell(violation=0.03, coverage=0.1)},
        {"SGR": Cell(violation=0.03, coverage=0.6)},
        {"plug-in": Cell(violation=0.1, coverage=0.6)},
    ],
)
def test_a_broken_promise_a_better_peer_or_a_test_that_cannot_fail_is_a_miss(changed: dict[str, Cell]) -> None:
    assert not command.report(some_decisions(**changed)).is_met


def test_a_peer_that_breaks_its_promise_is_no_measure_of_coverage() -> None:
    assert command.report(some_decisions(SGR=Cell(violation=0.2, coverage=0.9))).is_met


def test_the_table_and_the_json_have_every_method() -> None:
    report = command.report(some_decisions())

    console = Console(file=io.StringIO(), record=True, width=250)
    console.print(report.table)
    shown = console.export_text()
    content = json.loads(report.as_json(machine.here()))
    assert all(method.name in shown for method in METHODS)
    assert [entry["name"] for entry in content["methods"]] == [method.name for method in METHODS]
    assert all(len(entry["cells"]) == 9 for entry in content["methods"])


def test_the_same_seed_measures_the_same() -> None:
    once, again = (
        measured(POPULATIONS["weak"], 300, alpha=0.05, delta=0.05, trials=5, rng=np.random.default_rng(1))
        for _ in range(2)
    )

    assert once == again
    assert set(once) == {method.name for method in METHODS}


def test_the_saved_figures_are_of_enough_trials() -> None:
    saved = json.loads(SAVED.read_text())["simulated"]

    assert saved["trials"] >= 1_000
    assert {cell["n"] for entry in saved["methods"] for cell in entry["cells"]} == {300, 1_000, 3_000}
    assert all(entry["valid"] for entry in saved["methods"] if entry["name"].startswith("prelabel"))
