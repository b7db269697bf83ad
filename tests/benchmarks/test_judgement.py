"""Checks that a claim is held against its bar."""

from __future__ import annotations

import json

import pytest

from benchmarks import machine
from benchmarks.judgement import Direction, Judgement, Report


def a_judgement(value: float, direction: Direction) -> Judgement:
    return Judgement(what="waits", value=value, bar=1.0, direction=direction, unit="ms")


@pytest.mark.parametrize(
    ("direction", "met", "missed"),
    [("at_most", 1.0, 1.1), ("below", 0.9, 1.0), ("at_least", 1.0, 0.9), ("above", 1.1, 1.0)],
)
def test_a_bar_is_met_on_one_side_alone(direction: Direction, met: float, missed: float) -> None:
    assert a_judgement(met, direction).is_met
    assert not a_judgement(missed, direction).is_met


def test_one_missed_bar_fails_the_report_and_is_in_its_json() -> None:
    good, bad = a_judgement(0.5, "below"), a_judgement(2.0, "below")

    report = Report(judgements=[good, bad], figures={"n": 3}, tables=[])

    assert Report(judgements=[good], figures={}, tables=[]).is_met
    assert not report.is_met
    content = json.loads(report.as_json(machine.here()))
    assert [judgement["met"] for judgement in content["judgements"]] == [True, False]
    assert content["n"] == 3
