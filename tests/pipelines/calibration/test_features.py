"""Tests that features and raw scores read what is there, and never take what is missing for good."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import signals as model_signals
from models.geometry import encode_mask
from models.types import Annotation, Polygon, Task, TextSpan
from pipelines.calibration import features, raw_score
from pipelines.calibration.chances import softmin
from pipelines.calibration.features import MISSING
from tests.pipelines.calibration.builders import a_box, a_word, an_annotation

TASKS: tuple[Task, ...] = get_args(Task)
SIGNALS: dict[Task, dict[str, float]] = {
    "detection": {"no_miss": 0.9, "entropy_max": 0.4, "entropy_mean": 0.3, "margin_max": 0.2, "min_score": 0.7},
    "segmentation": {"no_miss": 0.9, "stability_min": 0.95, "soft_iou_min": 0.9, "predicted_iou_min": 0.93},
    "ner": {"no_miss": 0.9, "sentence": 0.7, "mnlp": -0.1, "entropy_max": 0.4, "entropy_mean": 0.1},
    "speech": {
        "no_miss": 0.9,
        "mean_logprob": -0.3,
        "no_speech": 0.1,
        "compression_ratio": 1.2,
        "temperature": 0.0,
        "speech_s": 2.0,
        "expected_wer": 0.1,
    },
}
MASK = encode_mask(np.pad(np.ones((10, 20), dtype=bool), 5))
ANNOTATIONS: dict[Task, tuple[Annotation, ...]] = {
    "detection": (a_box("0", score=0.7), a_box("1", score=0.9)),
    "segmentation": (a_box("0", score=0.8), an_annotation("m0", geometry=MASK, score=0.93, parent_id="0")),
    "ner": (
        an_annotation("0", geometry=TextSpan(start=0, end=3), score=0.9),
        an_annotation("1", geometry=TextSpan(start=4, end=6), score=0.8),
    ),
    "speech": (
        an_annotation("0", geometry=TextSpan(start=0, end=1), label="speech", score=0.1, text="one two"),
        a_word("0.0", score=0.9),
        a_word("0.1", score=0.6),
    ),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_full_prediction_has_at_most_eight_features_and_none_missing(task: Task) -> None:
    found = features(task, SIGNALS[task], ANNOTATIONS[task])

    assert len(found) <= 8
    assert not [name for name in found if name.startswith(MISSING)]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("nothing", [{}, {"no_miss": math.nan, "sentence": math.inf, "stability_min": math.nan}])
def test_every_feature_that_is_missing_says_so(task: Task, nothing: dict[str, float]) -> None:
    full = features(task, SIGNALS[task], ANNOTATIONS[task])

    found = features(task, nothing, ())

    assert {name.removeprefix(MISSING) for name in found} == set(full)
    assert {name for name in found if not name.startswith(MISSING)} <= {"count"}
    assert all(value == 1.0 for name, value in found.items() if name.startswith(MISSING))


@given(task=st.sampled_from(TASKS), data=st.data())
def test_each_signal_that_goes_missing_is_marked_and_never_makes_the_raw_score_higher(
    task: Task, data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.sampled_from(sorted(SIGNALS[task]))))
    left = {name: value for name, value in SIGNALS[task].items() if name not in gone}

    full, found = (features(task, known, ANNOTATIONS[task]) for known in (SIGNALS[task], left))

    assert {name.removeprefix(MISSING) for name in found} == set(full)
    assert raw_score(task, left, ANNOTATIONS[task]) <= raw_score(task, SIGNALS[task], ANNOTATIONS[task])


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_features_are_finite_and_raw_scores_in_0_to_1_whatever_the_signals(task: Task, data: st.DataObject) -> None:
    numbers = st.floats(allow_nan=True, allow_infinity=True)
    known = data.draw(st.dictionaries(st.sampled_from(sorted(SIGNALS[task])), numbers))

    assert all(math.isfinite(value) for value in features(task, known, ANNOTATIONS[task]).values())
    assert 0.0 <= raw_score(task, known, ANNOTATIONS[task]) <= 1.0
    assert 0.0 <= raw_score(task, known, ()) <= 1.0


def test_confidences_are_read_where_there_are_some() -> None:
    calibrated = tuple(a_box(str(i), score=0.9, p=0.2) for i in range(2))

    assert features("detection", {}, calibrated)["min_p"] == pytest.approx(math.log(0.2 / 0.8))
    assert raw_score("detection", {"no_miss": 1.0}, calibrated) == pytest.approx(0.2)


def test_words_speak_for_the_stretch_that_was_cut_into_them() -> None:
    found = features("speech", SIGNALS["speech"], ANNOTATIONS["speech"])

    assert found["min_word"] == pytest.approx(math.log(0.6 / 0.4))
    assert found["mean_word"] == pytest.approx(math.log(0.75 / 0.25))
    assert found["words_per_s"] == 1.0
    assert raw_score("speech", {"no_miss": 0.9}, ANNOTATIONS["speech"]) == pytest.approx(0.54)


def test_the_smallest_outline_counts_its_pixels() -> None:
    triangle = an_annotation("t", geometry=Polygon(points_xy=((0.0, 0.0), (10.0, 0.0), (0.0, 10.0))))

    assert features("segmentation", {}, ANNOTATIONS["segmentation"])["area_min"] == pytest.approx(math.log1p(200))
    assert features("segmentation", {}, (triangle,))["area_min"] == pytest.approx(math.log1p(50))


def test_a_predicted_iou_above_one_counts_as_one() -> None:
    over = SIGNALS["segmentation"] | {"predicted_iou_min": 1.07}

    assert features("segmentation", over, ANNOTATIONS["segmentation"])["predicted_iou_min"] == pytest.approx(
        features("segmentation", over | {"predicted_iou_min": 1.0}, ANNOTATIONS["segmentation"])["predicted_iou_min"]
    )


def test_without_the_signal_the_masks_scores_are_the_predicted_ious() -> None:
    assert features("segmentation", {}, ANNOTATIONS["segmentation"])["predicted_iou_min"] == pytest.approx(
        math.log(0.93 / 0.07)
    )


@pytest.mark.parametrize(
    ("task", "expected"),
    [("detection", 0.7 * 0.9), ("segmentation", 0.8), ("ner", 0.9 * 0.8 * 0.9), ("speech", 0.6 * 0.9)],
)
def test_raw_scores_by_hand(task: Task, expected: float) -> None:
    assert raw_score(task, SIGNALS[task], ANNOTATIONS[task]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("task", "expected"),
    [("detection", 0.7 / 2), ("segmentation", 0.8 / 8), ("ner", 0.9 * 0.8 / 2), ("speech", 0.6 / 2)],
)
def test_each_signal_that_is_missing_halves_the_raw_score(task: Task, expected: float) -> None:
    assert raw_score(task, {}, ANNOTATIONS[task]) == pytest.approx(expected)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_found_is_as_safe_as_the_model_is_that_nothing_is_missing(task: Task) -> None:
    assert raw_score(task, {"no_miss": 0.83}, ()) == 0.83
    assert raw_score(task, {}, ()) == 0.0


def test_the_raw_score_of_a_text_is_its_sentence_score() -> None:
    rng = np.random.default_rng(1)
    distributions = rng.dirichlet([5.0, 1.0, 1.0], size=8)
    span_scores = np.array([0.9, 0.7])
    known = model_signals.token_classification(
        distributions, outside=0, span_scores=span_scores, is_emitted=np.array([True, True])
    )
    spans = tuple(
        an_annotation(str(i), geometry=TextSpan(start=i, end=i + 1), score=float(s)) for i, s in enumerate(span_scores)
    )

    assert raw_score("ner", known, spans) == pytest.approx(known["sentence"])


def test_softmin_lies_between_the_lowest_and_the_mean() -> None:
    values = [0.3, 0.35, 0.9]

    assert min(values) < softmin(values) < sum(values) / 3
    assert softmin([0.3, 0.9, 0.9]) < softmin([0.5, 0.9, 0.9])
    assert softmin([0.4]) == 0.4


def test_softmin_is_that_of_cleanlab() -> None:
    from cleanlab.internal.object_detection_utils import softmin1d

    values = [0.2, 0.25, 0.8, 0.99]

    assert softmin(values) == pytest.approx(softmin1d(np.array(values), temperature=0.1))
