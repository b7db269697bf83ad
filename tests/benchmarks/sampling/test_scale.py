"""Checks that the measurement at scale measures a selection in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.sampling import scale

RESULTS = Path(scale.__file__).parents[1] / "results" / "sampling.json"


def test_a_choice_is_measured_in_a_process_of_its_own() -> None:
    [found] = scale.measure(items=5_000, budget=20, strategies=["hybrid"], progress=lambda line: None)

    assert (found["items"], found["dimension"], found["chosen"]) == (5_000, scale.DIMENSION, 20)
    assert 0.05 < found["peak_gib"] < scale._MOST_GIB
    assert all(judgement.is_met for judgement in scale.judgements([found]))
    assert not any(judgement.is_met for judgement in scale.judgements([found | {"wall_s": 61.0, "peak_gib": 5.0}]))


def test_the_committed_result_is_of_a_whole_run_and_meets_every_bar() -> None:
    content = json.loads(RESULTS.read_text())

    assert (content["is_quick"], content["seeds"]) == (False, 20)
    assert {one["items"] for one in content["scale"]} == {scale.ITEMS}
    assert all(judgement["met"] for judgement in content["judgements"])
