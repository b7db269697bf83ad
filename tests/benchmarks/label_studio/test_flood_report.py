"""Checks what is claimed of a flood."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import machine
from benchmarks.label_studio import flood_report
from benchmarks.label_studio.flood import FORMS, Flood, Floods, Form, Kill
from benchmarks.label_studio.stored import Stored

KILL = Kill(at_s=40.0, processes=30, left=0, labelled=60, run_status="running", stored=10, restart_s=20.0)
ALL_ONCE = Stored(tasks_by_predictions={1: 100}, versions=("v",))


def a_flood(form: Form = "posted", **changes: object) -> Flood:
    """100 tasks, and a kill when 60 were labelled; all went well."""
    values: dict[str, object] = {
        "form": form,
        "tasks": 100,
        "answer": "none (ReadError)" if form == "posted" else "200",
        "first_answer_s": None if form == "posted" else 85.0,
        "filled": 0 if form == "posted" else 60,
        "kill": KILL,
        "attempts": 2,
        "all_stored_s": 300.0,
        "found": ALL_ONCE,
        "counts": {"v": 100},
    }
    return Flood(**values | changes)  # type: ignore[arg-type]


def missed(flood: Flood) -> list[str]:
    return [one.what.removeprefix(f"{flood.form}: ") for one in flood_report.judge(flood) if not one.is_met]


@pytest.mark.parametrize("form", FORMS)
def test_a_flood_that_went_well_meets_every_bar(form: Form) -> None:
    assert missed(a_flood(form)) == []


@pytest.mark.parametrize(
    ("flood", "what"),
    [
        (a_flood(kill=replace(KILL, processes=1)), "processes killed"),
        (a_flood(kill=replace(KILL, left=1)), "processes that lived on"),
        (a_flood(answer="200", first_answer_s=30.0), "answers"),
        (a_flood(kill=replace(KILL, labelled=100)), "labelled before the kill"),
        (a_flood(attempts=1), "attempts of the run"),
        (a_flood("retrieved", first_answer_s=95.0), "first answer after"),
        (a_flood("retrieved", first_answer_s=None), "first answer after"),
        (a_flood("retrieved", kill=replace(KILL, stored=100)), "stored before the kill"),
        (a_flood("in part", filled=0), "predictions in the answer"),
        (a_flood("in part", filled=100), "predictions in the answer, of all"),
        (a_flood("in part", attempts=1), "attempts of the run"),
        (a_flood("in part", first_answer_s=95.0), "first answer after"),
        (a_flood(all_stored_s=600.5), "all stored after"),
        (a_flood(all_stored_s=None), "all stored after"),
        (a_flood(found=replace(ALL_ONCE, tasks_by_predictions={0: 1, 1: 99})), "tasks without a prediction"),
        (a_flood(found=replace(ALL_ONCE, tasks_by_predictions={1: 99, 2: 1})), "predictions too many"),
        (a_flood(counts={"v": 101}), "the same by Label Studio's API"),
        (a_flood(found=replace(ALL_ONCE, versions=("v", "w"))), "model versions"),
    ],
)
def test_one_fault_misses_its_own_bar(flood: Flood, what: str) -> None:
    assert missed(flood) == [what]


def test_the_figures_are_json_and_say_which_label_studio_it_was() -> None:
    floods = Floods(release="1.23.2", floods=(a_flood(), a_flood("retrieved", all_stored_s=None)))

    content = json.loads(flood_report.report(floods).as_json(machine.here()))

    assert content["label_studio"] == "1.23.2"
    assert [flood["stored_per_s"] for flood in content["floods"]] == [0.3, None]
    assert content["floods"][0]["found"]["tasks_by_predictions"] == {"1": 100}
    assert not flood_report.report(floods).is_met
