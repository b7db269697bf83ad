"""Tests that a label has a calibrator of its own only where there are answers enough for one."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from pipelines.calibration import LabelCalibration, TooFewLabelsError, fit_labels
from pipelines.calibration.quality import ece
from pipelines.errors import InvalidRequestError
from tests.pipelines.calibration.builders import a_box
from tests.pipelines.calibration.truths import A_MOMENT, sigmoid

OFFSETS = {"easy": 1.5, "hard": -1.5, "rare": 0.0}


def draw(counts: dict[str, int], *, seed: int = 1) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Labels, scores and answers; a label's scores are off by its own offset on the logit."""
    rng = np.random.default_rng(seed)
    labels = [label for label, count in counts.items() for _ in range(count)]
    z = rng.normal(0.0, 1.5, len(labels))
    return labels, sigmoid(z), rng.random(len(labels)) < sigmoid(z + np.array([OFFSETS[label] for label in labels]))


def fitted(counts: dict[str, int], *, seed: int = 1, weights: np.ndarray | None = None) -> LabelCalibration:
    labels, scores, is_right = draw(counts, seed=seed)
    return fit_labels(
        labels, scores, is_right=is_right, weights=weights, fitted_at=A_MOMENT, rng=np.random.default_rng(2)
    )


def test_only_labels_with_enough_answers_get_a_calibrator_of_their_own() -> None:
    calibration = fitted({"easy": 600, "hard": 200, "rare": 199})

    assert set(calibration.own) == {"easy", "hard"}
    assert calibration.pooled.n == 999
    assert calibration.calibrator("rare") is calibration.calibrator("never seen") is calibration.pooled


def test_answers_of_which_nearly_all_are_right_are_not_enough() -> None:
    labels, scores, is_right = draw({"easy": 600, "hard": 300})
    is_right[np.flatnonzero(np.array(labels) == "easy")[9:]] = True  # at most nine wrong ones are left

    calibration = fit_labels(labels, scores, is_right=is_right, fitted_at=A_MOMENT, rng=np.random.default_rng(2))

    assert set(calibration.own) == {"hard"}


def test_answers_that_weigh_little_are_fewer() -> None:
    weights = np.where(np.arange(800) % 20, 1.0, 40.0)

    assert set(fitted({"easy": 400, "hard": 400}).own) == {"easy", "hard"}
    assert fitted({"easy": 400, "hard": 400}, weights=weights).own == {}


def test_labels_of_their_own_are_nearer_to_the_truth_than_pooled_ones() -> None:
    calibration = fitted({"easy": 1_000, "hard": 1_000})
    labels, scores, is_right = draw({"easy": 10_000, "hard": 10_000}, seed=3)
    is_hard = np.array(labels) == "hard"

    own = ece(calibration.apply(labels, scores)[is_hard], is_right[is_hard])
    pooled = ece(calibration.pooled.apply(scores)[is_hard], is_right[is_hard])

    assert own < 0.04
    assert pooled > 0.15  # negative control


def test_one_probability_is_the_same_as_many() -> None:
    calibration = fitted({"easy": 600, "rare": 20})
    labels, scores, _ = draw({"easy": 50, "rare": 50}, seed=4)

    one_by_one = [calibration.probability(label, score) for label, score in zip(labels, scores, strict=True)]

    np.testing.assert_allclose(calibration.apply(labels, scores), one_by_one, atol=1e-12)


def test_annotations_get_the_confidence_of_their_label_and_keep_the_rest() -> None:
    calibration = fitted({"easy": 600, "hard": 600})
    annotations = (a_box("0", label="easy", score=0.5), a_box("1", label="hard", score=0.5))

    easy, hard = calibration.confident(annotations)

    assert easy.confidence == calibration.own["easy"].probability(0.5)
    assert hard.confidence is not None and easy.confidence is not None and hard.confidence < 0.5 < easy.confidence
    assert (easy.id, easy.score, easy.geometry) == ("0", 0.5, annotations[0].geometry)


def test_a_label_says_what_its_probabilities_come_from() -> None:
    calibration = fitted({"easy": 600, "rare": 20})

    assert calibration.describe("easy").sentence == "platt, fitted on 600 answers of 'easy', 2026-05-01"
    assert calibration.describe("rare").sentence == "platt, fitted on 620 answers of all labels, 2026-05-01"
    assert [calibration.describe(label).source for label in ("easy", "rare", None)] == ["own", "pooled", "pooled"]
    assert calibration.describe("easy").positives == calibration.own["easy"].positives


def test_it_comes_back_from_json() -> None:
    calibration, adapter = fitted({"easy": 600, "hard": 600}), TypeAdapter(LabelCalibration)

    assert adapter.validate_json(adapter.dump_json(calibration)) == calibration


def test_too_few_answers_of_all_labels_are_refused() -> None:
    with pytest.raises(TooFewLabelsError) as refused:
        fitted({"easy": 20, "hard": 20})

    assert refused.value.missing == 10


def test_a_label_is_wanted_for_every_score() -> None:
    with pytest.raises(InvalidRequestError, match="got 1 labels for 60 scores"):
        fit_labels(["cat"], [0.5] * 60, is_right=[True, False] * 30, fitted_at=A_MOMENT, rng=np.random.default_rng(0))
