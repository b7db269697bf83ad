"""Checks the names of the measurements, and what the command makes of them."""

from __future__ import annotations

import inspect
import io
from importlib import import_module

from rich.console import Console
from typer.testing import CliRunner

from benchmarks import machine
from benchmarks.__main__ import app
from benchmarks.drops.registry import MODULES, chosen
from benchmarks.ratio import Ratio, Rounds
from benchmarks.ratios import report
from benchmarks.ratios.runner import Outcome, Unmeasured


def a_ratio(value: float, *, bar: float | None) -> Ratio:
    rounds = Rounds(ours=(value,), peer=(1.0,))
    return Ratio(name="x", ours="a", peer="b", unit="s", rounds=rounds, bar=bar, aim=bar, details={})


def an_outcome(*ratios: Ratio, failed: tuple[Unmeasured, ...] = ()) -> Outcome:
    return Outcome(ratios=ratios, skipped=(), failed=failed)


def test_the_names_are_stable_and_each_has_its_measurement() -> None:
    assert list(MODULES) == ["speech", "images", "few_items", "two_nodes", "many_ids", "memory", "ray_data"]
    for module in MODULES.values():
        assert list(inspect.signature(import_module(module).measure).parameters) == ["quick"]


def test_those_that_are_named_are_chosen_or_all() -> None:
    assert list(chosen(["memory"])) == ["memory"]
    assert chosen([]) == MODULES


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    result = CliRunner().invoke(app, ["drops", "--only", "fastest"], env={"COLUMNS": "200"})

    assert result.exit_code == 2
    assert "no comparison fastest" in result.output
    assert "many_ids" in result.output


def test_an_outcome_is_good_when_all_was_measured_and_no_bar_is_missed() -> None:
    good, without_a_bar, missed = a_ratio(1.0, bar=0.85), a_ratio(0.5, bar=None), a_ratio(0.8, bar=0.85)

    assert an_outcome(good, without_a_bar).is_met
    assert not an_outcome(good, missed).is_met
    assert not an_outcome(good, failed=(Unmeasured(name="y", reason="it broke"),)).is_met


def test_a_ratio_without_a_bar_is_shown_without_a_verdict() -> None:
    shown = Console(file=io.StringIO(), width=160, record=True)

    shown.print(report.as_table(an_outcome(a_ratio(0.5, bar=None)), machine.here()))

    text = shown.export_text()
    assert "none" in text
    assert "yes" not in text
