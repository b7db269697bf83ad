"""Checks that the README prints the ratios that were measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("file", "prefix"), [("ratios.json", ""), ("drops.json", "drops.")])
def test_every_ratio_of_the_readme_is_that_of_the_results_and_none_is_left_out(file: str, prefix: str) -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / file).read_text(encoding="utf-8"))["ratios"]
    rows = [line.split("|") for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()]
    printed = {row[1].strip(): [cell.strip() for cell in row[4:9]] for row in rows if len(row) == 10}

    for ratio in measured:
        sign = "≥" if ratio["direction"] == "at_least" else "≤"
        miss = "" if ratio["met"] else ", missed"
        stolen = ratio["rounds"]["stolen"]
        wanted = [
            f"{ratio['median']:.2f}",
            f"{ratio['low']:.2f} to {ratio['high']:.2f}",
            "–" if ratio["bar"] is None else f"{sign} {ratio['bar']:g}{miss}",
            str(len(ratio["rounds"]["ours"])),
            f"{max(stolen):.0%}" if stolen else "–",
        ]
        assert printed[f"`{prefix}{ratio['name']}`"] == wanted
    assert measured
