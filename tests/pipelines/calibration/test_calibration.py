"""Tests that a calibration fills in confidences, for the models that it was fitted on, and is named by its content."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from models.types import Annotation, Prediction
from pipelines.calibration import Calibration, features, fit_item, fit_labels, raw_score
from tests.pipelines.calibration.builders import a_box
from tests.pipelines.calibration.truths import A_MOMENT, logit_shift

CHAIN = ("detector@1:abababababab",)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return a_calibration()


def a_calibration(seed: int = 1) -> Calibration:
    rng = np.random.default_rng(seed)
    drawn = logit_shift(600, rng)
    labels = fit_labels(
        ["cat"] * 400 + ["dog"] * 200, drawn.scores, is_right=drawn.is_right, fitted_at=A_MOMENT, rng=rng
    )
    boxes = [labels.confident([a_box(score=float(score))]) for score in drawn.scores]
    signals = {"no_miss": 0.9}
    item = fit_item(
        [features("detection", signals, box) for box in boxes],
        drawn.is_right,
        raw_scores=[raw_score("detection", signals, box) for box in boxes],
        fitted_at=A_MOMENT,
        rng=rng,
    )
    return Calibration(
        task="detection", chain=CHAIN, config_digest="cd" * 32, labels=labels, item=item, created_at=A_MOMENT
    )


def a_prediction(*scores: float, no_miss: float = 0.9) -> Prediction:
    boxes: tuple[Annotation, ...] = tuple(a_box(str(i), score=score) for i, score in enumerate(scores))
    return Prediction(annotations=boxes, signals={"no_miss": no_miss})


def test_every_annotation_and_the_item_get_a_confidence(calibration: Calibration) -> None:
    before = a_prediction(0.9, 0.4)

    after, of_item = calibration.confident(before)

    assert calibration.labels is not None
    assert [a.confidence for a in after.annotations] == [calibration.labels.probability("cat", s) for s in (0.9, 0.4)]
    assert [a.score for a in after.annotations] == [0.9, 0.4]
    assert of_item is not None and 0.0 < of_item < 1.0
    assert replace(after, annotations=before.annotations) == before


def test_a_prediction_whose_only_box_is_surer_is_surer(calibration: Calibration) -> None:
    items = [calibration.confident(a_prediction(score))[1] for score in (0.2, 0.6, 0.95)]

    assert items == sorted(items, key=lambda p: p or 0.0)
    assert len(set(items)) == 3


def test_nothing_found_has_a_confidence_too(calibration: Calibration) -> None:
    after, of_item = calibration.confident(a_prediction())

    assert after.annotations == ()
    assert of_item is not None and 0.0 < of_item < 1.0


def test_what_was_not_fitted_stays_unknown(calibration: Calibration) -> None:
    without_labels, without_items = replace(calibration, labels=None), replace(calibration, item=None)

    assert [a.confidence for a in without_labels.confident(a_prediction(0.9))[0].annotations] == [None]
    assert without_items.confident(a_prediction(0.9))[1] is None
    assert (without_labels.n_labels, without_items.n_items) == (0, 0)
    assert without_labels.describe("cat") is None


def test_it_applies_to_the_very_same_models_alone(calibration: Calibration) -> None:
    assert calibration.applies_to(CHAIN, "cd" * 32)
    assert calibration.applies_to(list(CHAIN), "cd" * 32)
    assert not calibration.applies_to(("detector@1:cdcdcdcdcdcd",), "cd" * 32)
    assert not calibration.applies_to((*CHAIN, "segmenter@1:abababababab"), "cd" * 32)
    assert not calibration.applies_to(CHAIN, "ef" * 32)


def test_it_comes_back_from_json_under_the_same_name(calibration: Calibration) -> None:
    again = Calibration.from_json(calibration.to_json())

    assert again == calibration
    assert again.id == calibration.id
    assert again.confident(a_prediction(0.3, 0.8)) == calibration.confident(a_prediction(0.3, 0.8))


def test_another_content_has_another_name(calibration: Calibration) -> None:
    others = [
        replace(calibration, config_digest="ef" * 32),
        replace(calibration, item=None),
        a_calibration(seed=2),
    ]

    assert a_calibration().id == calibration.id
    assert len({calibration.id, *(other.id for other in others)}) == 4
    assert calibration.id.startswith("calibration-") and len(calibration.id) == len("calibration-") + 12


def test_what_is_no_calibration_is_refused() -> None:
    with pytest.raises(ValidationError):
        Calibration.from_json(b'{"task": "detection"}')


def test_a_label_says_where_its_confidence_comes_from(calibration: Calibration) -> None:
    described = calibration.describe("dog")

    assert described is not None
    assert (described.source, described.n) == ("own", 200)
    assert (calibration.n_labels, calibration.n_items) == (600, 600)
