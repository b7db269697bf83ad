"""Checks that the README prints what the decisions and samples came to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
COLUMNS = (("good", 300), ("good", 1_000), ("good", 3_000), ("confwrong", 1_000), ("weak", 1_000))


def rows() -> dict[tuple[str, ...], list[str]]:
    """The README's table rows by their first two cells."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip().strip("*") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    return {tuple(row[:2]): row for row in cells if len(row) > 2}


def results(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))


def test_the_table_of_simulated_rules_is_that_of_the_results() -> None:
    printed, promises = rows(), {"dataset_error": "data set", "accepted_error": "accepted"}
    methods = results("decisions.json")["simulated"]["methods"]

    for method in methods:
        cells = {(cell["population"], cell["n"]): cell for cell in method["cells"]}
        wanted = [f"{cells[column]['violation']:.1%} / {cells[column]['coverage']:.2f}" for column in COLUMNS]
        assert printed[method["name"], promises[method["promise"]]][2:] == wanted
    assert len(methods) >= 8


def test_the_table_of_the_detectors_rules_is_that_of_the_results() -> None:
    printed = rows()

    for rule in results("decisions.json")["detector"]["rules"]:
        wanted = [f"{rule['coverage']['mean']:.2f}", f"{rule['oracle_coverage']:.2f}"]
        assert printed[rule["name"], f"{rule['kept']:.1%}"][2:] == wanted


def test_the_table_of_label_savings_is_that_of_the_results() -> None:
    printed, savings = rows(), results("sampling.json")["savings"]

    for pool, name in (("plain", "plain"), ("near_duplicate", "each digit five times, nearly")):
        strategies = ("random", "entropy", "margin", "k_center", "typiclust", "hybrid")
        labels = [str(savings[pool][strategy]["labels_to_0.92"] or "> 320") for strategy in strategies]
        assert printed[name, labels[0]][1:] == [*labels, f"{savings[pool]['hybrid']['wins']} of 20"]


def test_what_is_said_of_the_active_loop_is_what_it_came_to() -> None:
    result = results("active_loop.json")
    told = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    judged = {judgement["what"]: judgement for judgement in result["judgements"]}
    promises = [one for what, one in judged.items() if "the drop: rounds over" in what]
    rounds = sum(int(one["what"].split("of ")[1].split()[0]) for one in promises)
    [by_eye] = [one for what, one in judged.items() if what.startswith("control")]
    labels = result["tasks"]["ner"]["labels_to_target"]

    assert len(promises) == 2 and all(one["value"] == 0 for one in promises)
    assert f"In none of {rounds} rounds" in told
    assert f"broke it in {by_eye['value']:g} of {by_eye['what'].rsplit(' ', 1)[1]}." in told
    assert (
        f"needs {labels['hybrid']:.0f} chosen labels to an F1 of 0.90 where random choice needs {labels['random']:.0f}"
        in told
    )
