"""Checks what is judged of the detector's recalibrations, and how it is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import machine
from benchmarks.decisions import parts
from benchmarks.decisions.detector import report
from benchmarks.decisions.detector.measurement import RULES, Held, Size
from benchmarks.decisions.detector.outcome import Outcome
from benchmarks.decisions.detector.quality import MEASURES, Quality
from benchmarks.decisions.detector.recalibration import Rule
from benchmarks.decisions.detector.scenes import PARTS

SAVED = Path(parts.__file__).parents[1] / "results" / "decisions.json"
T = 100


def an_outcome(*, broken: int = 2, broken_in_a_part: int = 2, coverage: float = 0.3) -> Outcome:
    """Of 100 recalibrations the first ``broken`` have 6 % of errors, the others 3 %; the same in the first part."""
    part_errors = np.full((T, len(PARTS)), 0.03)
    part_errors[:broken_in_a_part, 0] = 0.06
    return Outcome(
        errors=np.where(np.arange(T) < broken, 0.06, 0.03),
        coverages=np.full(T, coverage),
        part_errors=part_errors,
        part_coverages=np.full((T, len(PARTS)), coverage),
        oracles=np.full(T, 0.4),
        alpha=0.05,
    )


def some_held(**outcomes: Outcome) -> Held:
    """Ours keep their promises and the rules without a proof break theirs half of the time."""
    of_rule: dict[Rule, Outcome] = {
        rule: outcomes.get(rule.replace(" ", "_").replace("-", "_"), an_outcome(broken=50 if "plug" in rule else 2))
        for rule in RULES
    }
    return Held(
        size=Size(of_part=1_000, n=600, recalibrations=T),
        model="boxer@1:abababababab",
        base_errors=dict.fromkeys(PARTS, 0.5),
        outcomes=of_rule,
        quality=Quality(before=dict.fromkeys(MEASURES, 0.2), after=dict.fromkeys(MEASURES, 0.05)),
        n_certified=360.0,
        differing=0,
        boxes=2_000,
        labelling_s=1.0,
        recalibrating_s=2.0,
    )


def test_kept_promises_that_another_rule_breaks_are_met() -> None:
    assert report.report(some_held()).is_met


@pytest.mark.parametrize(
    "changed",
    [
        some_held(calibrated=an_outcome(broken=6)),
        some_held(raw=an_outcome(broken=6)),
        some_held(by_part=an_outcome(broken_in_a_part=6)),
        some_held(plug_in=an_outcome(broken=10)),
        some_held(calibrated=an_outcome(coverage=0.25)),
        replace(some_held(), differing=1),
        replace(some_held(), quality=Quality(before=dict.fromkeys(MEASURES, 0.2), after=dict.fromkeys(MEASURES, 0.2))),
    ],
    ids=["calibrated", "raw", "by part", "control", "coverage", "decided otherwise", "calibration"],
)
def test_a_broken_promise_or_a_test_that_cannot_fail_is_a_miss(changed: Held) -> None:
    assert [judgement.is_met for judgement in report.judge(changed)].count(False) >= 1
    assert not report.report(changed).is_met


def test_one_certificate_for_all_promises_nothing_within_a_part() -> None:
    assert report.report(some_held(calibrated=an_outcome(broken_in_a_part=100))).is_met


def test_a_share_has_its_binomial_standard_error() -> None:
    assert report.standard_error(0.95, 200) == pytest.approx(0.0154, abs=1e-4)


def test_two_hundred_of_two_hundred_show_less_than_all() -> None:
    assert report.at_least(1.0, 200) == pytest.approx(0.05 ** (1 / 200))
    assert report.at_least(0.5, 200) < 0.5


def test_the_tables_and_the_json_have_every_rule_part_and_measure() -> None:
    found = report.report(some_held())

    console = Console(file=io.StringIO(), record=True, width=250)
    console.print(found.table)
    shown = console.export_text()
    content = json.loads(found.as_json(machine.here()))
    assert all(name in shown for name in (*report.NAMES.values(), *PARTS, *MEASURES))
    assert [entry["name"] for entry in content["rules"]] == list(report.NAMES.values())
    assert all(set(entry["parts"]) == set(PARTS) for entry in content["rules"])
    assert all(content["calibration"][name] == {"before": 0.2, "after": 0.05} for name in MEASURES)
    assert content["rules"][0]["kept"] == 0.98
    assert content["rules"][0]["kept_standard_error"] == 0.014


def test_the_saved_figures_are_of_enough_scenes_and_recalibrations() -> None:
    saved = json.loads(SAVED.read_text())["detector"]

    assert saved["fresh"] >= 5_000
    assert saved["recalibrations"] >= 200
    assert saved["shared_by_two_samples"] <= 0.1
    assert all(judgement["met"] for judgement in saved["judgements"])
