"""Checks that a recalibration is the product's, and that what it is judged on had no part in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks.decisions.detector.measurement import Size, held
from benchmarks.decisions.detector.recalibration import Recalibration, recalibrated
from benchmarks.decisions.detector.scored import Scored
from pipelines.corrections.acceptable import ACCEPTABLE, right_ones
from tests.benchmarks.decisions.detector.builders import CONDITIONS, a_box, a_scene, some_scenes

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SCORED = Scored.of(some_scenes(300).scenes)


def a_recalibration(number: int = 0, *, n: int = 500) -> Recalibration:
    return recalibrated(SCORED, conditions=CONDITIONS, n=n, number=number, seed=1, now=NOW)


def test_the_fresh_scenes_are_all_but_the_sample() -> None:
    found = a_recalibration()

    assert len(found.fresh) == len(SCORED.scenes) - 500
    assert len(set(found.fresh.tolist())) == len(found.fresh)
    assert 0.5 * 500 < found.n_certified < 0.7 * 500
    assert found.calibration.n_items == 500 - found.n_certified


def test_policies_decide_as_their_thresholds_say() -> None:
    found = [a_recalibration(number) for number in range(3)]

    assert sum(one.differing for one in found) == 0
    assert all(one.accepted["calibrated"].any() for one in found)


def test_items_that_are_not_what_was_certified_are_seen_to_be_decided_otherwise() -> None:
    others = replace(CONDITIONS, chain=("another@1:000000000000",))

    found = recalibrated(SCORED, conditions=others, n=500, number=0, seed=1, now=NOW)

    assert found.differing > 0


def test_the_same_number_recalibrates_alike_and_another_one_does_not() -> None:
    once, again, other = a_recalibration(1), a_recalibration(1), a_recalibration(2)

    assert np.array_equal(once.confidences, again.confidences)
    assert all(np.array_equal(once.accepted[rule], again.accepted[rule]) for rule in once.accepted)
    assert not np.array_equal(once.fresh, other.fresh)


def test_too_few_labels_for_a_calibration_are_refused() -> None:
    with pytest.raises(RuntimeError, match="40 labels give no calibration"):
        a_recalibration(n=40)


def test_a_box_is_right_where_the_product_says_so() -> None:
    twice = (a_box(0.9), a_box(0.8))
    scenes = [a_scene(), a_scene(truth=()), a_scene(truth=(a_box(1.0, left=4.0),)), a_scene(truth=twice)]
    scored = Scored.of(scenes)

    boxes = scored.boxes(np.array([3, 2, 1, 0]))

    acceptable = ACCEPTABLE["detection"]
    said = [
        right
        for one in reversed(scenes)
        for right in right_ones("detection", one.pre_label.prediction.annotations, one.truth, acceptable)
    ]
    assert boxes.is_right.tolist() == said == [True, False, False, True]
    assert boxes.ious is not None
    assert boxes.ious.tolist() == [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("recalibrations", [20, pytest.param(200, marks=pytest.mark.statistics)])
def test_ours_keep_their_promise_and_who_has_no_proof_does_not(recalibrations: int) -> None:
    found = held(some_scenes(400), Size(of_part=400, n=500, recalibrations=recalibrations), progress=lambda line: None)

    assert found.outcomes["calibrated"].kept >= 0.95
    assert found.outcomes["raw"].kept >= 0.95
    assert found.outcomes["by part"].kept_in_every_part >= 0.95
    assert found.outcomes["plug-in"].kept < 0.8
    assert found.outcomes["plug-in on raw"].kept < 0.8
    assert found.outcomes["calibrated"].coverages.mean() > 0.6 * found.outcomes["calibrated"].oracles.mean()
    assert found.quality.after["item ECE"] < 0.1
