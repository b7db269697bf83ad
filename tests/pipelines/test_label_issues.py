"""Holds label scores against cleanlab's, and against errors that are put into drawn labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from models.demo.evaluate_language import auroc
from models.types import Annotation, Box, TextSpan
from pipelines.label_issues import Boxes, LabelQuality, label_quality

CLASSES = 3
SIDE_PX = 400.0
Fault = Literal["shift", "swap", "drop"]


def boxes(*rows: tuple[float, float, float, float, int, float]) -> Boxes:
    numbers = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Boxes(boxes_xyxy=numbers[:, :4], classes=numbers[:, 4].astype(int), scores=numbers[:, 5])


def ranked_by_class(found: Boxes) -> Boxes:
    order = np.argsort(found.classes, kind="stable")
    return Boxes(boxes_xyxy=found.boxes_xyxy[order], classes=found.classes[order], scores=found.scores[order])


def an_image(rng: np.random.Generator, fault: Fault | None = None) -> tuple[Boxes, Boxes]:
    """Two to six objects as they are labelled, with a fault at one of them, and as a fair detector finds them."""
    count = int(rng.integers(2, 7))
    size = rng.uniform(40.0, 110.0, size=(count, 2))
    corner = rng.uniform(0.0, SIDE_PX - size)
    truth = np.concatenate([corner, corner + size], axis=1)
    classes = rng.integers(0, CLASSES, size=count)
    given, given_classes = truth + rng.normal(scale=1.0, size=truth.shape), classes.copy()
    faulty = int(rng.integers(count))
    if fault == "shift":
        given[faulty] += np.tile(rng.choice([-1.0, 1.0], 2) * rng.uniform(0.3, 0.5, 2) * size[faulty], 2)
    if fault == "swap":
        given_classes[faulty] = (classes[faulty] + rng.integers(1, CLASSES)) % CLASSES
    kept = np.arange(count) != faulty if fault == "drop" else np.ones(count, dtype=bool)
    labels = Boxes(boxes_xyxy=given[kept], classes=given_classes[kept], scores=np.ones(kept.sum()))
    return labels, a_detection(rng, truth, classes)


def a_detection(rng: np.random.Generator, truth: np.ndarray, classes: np.ndarray) -> Boxes:
    """Most objects, a few pixels off, two in three with a score above 0.95; now and then a wrong class or nothing."""
    seen = rng.random(len(truth)) < 0.95
    jitter = np.tile(truth[:, 2:] - truth[:, :2], 2) * rng.normal(scale=0.02, size=truth.shape)
    is_confused = rng.random(len(truth)) < 0.03
    found = np.where(is_confused, (classes + 1) % CLASSES, classes)
    scores = np.where(is_confused, rng.beta(4.0, 3.0, len(truth)), rng.beta(22.0, 0.9, len(truth)))
    false = int(rng.poisson(0.3))
    corner = rng.uniform(0.0, SIDE_PX - 60.0, size=(false, 2))
    return ranked_by_class(
        Boxes(
            boxes_xyxy=np.concatenate([(truth + jitter)[seen], np.concatenate([corner, corner + 60.0], axis=1)]),
            classes=np.concatenate([found[seen], rng.integers(0, CLASSES, false)]),
            scores=np.concatenate([scores[seen], rng.beta(2.0, 4.0, false)]),
        )
    )


def as_cleanlab(given: list[Boxes], predicted: list[Boxes]) -> dict[str, Any]:
    def of_class(found: Boxes, number: int) -> np.ndarray:
        own = found.classes == number
        return np.concatenate([found.boxes_xyxy[own], found.scores[own, None]], axis=1)

    predictions = [np.empty(CLASSES, dtype=object) for _ in predicted]
    for row, found in zip(predictions, predicted, strict=True):
        for number in range(CLASSES):
            row[number] = of_class(found, number)
    labels = [{"bboxes": own.boxes_xyxy, "labels": own.classes} for own in given]
    return {"labels": labels, "predictions": predictions}


def a_data_set(count: int, *, seed: int) -> tuple[list[Boxes], list[Boxes]]:
    rng = np.random.default_rng(seed)
    faults: list[Fault | None] = [None, "shift", "swap", "drop"]
    pairs = [an_image(rng, faults[number % 4]) for number in range(count)]
    return [labels for labels, _ in pairs], [found for _, found in pairs]


@pytest.mark.parametrize("seed", range(3))
def test_every_score_is_cleanlabs(seed: int) -> None:
    from cleanlab.object_detection import rank

    given, predicted = a_data_set(40, seed=seed)
    twice = given[0]  # the same place with two classes
    given[0] = Boxes(
        boxes_xyxy=np.concatenate([twice.boxes_xyxy, twice.boxes_xyxy[:1]]),
        classes=np.append(twice.classes, (twice.classes[0] + 1) % CLASSES),
        scores=np.append(twice.scores, 1.0),
    )
    given.append(boxes((10, 10, 50, 50, 1, 1.0)))
    predicted.append(boxes((200, 200, 260, 260, 0, 0.99), (300, 300, 350, 360, 1, 0.97)))

    ours = label_quality(given, predicted)

    sets = as_cleanlab(given, predicted)
    theirs = {
        "overlooked": rank.compute_overlooked_box_scores(**sets),
        "badly_located": rank.compute_badloc_box_scores(**sets),
        "swapped": rank.compute_swap_box_scores(**sets),
    }
    for name, expected in theirs.items():
        for own, wanted in zip(ours, expected, strict=True):
            np.testing.assert_allclose(getattr(own, name), wanted, atol=1e-6, rtol=0.0)
    whole = rank.get_label_quality_scores(**sets, verbose=False)
    np.testing.assert_allclose([own.image for own in ours], whole, atol=1e-6, rtol=0.0)
    assert sum(int((~np.isnan(own.overlooked)).sum()) for own in ours) > 3  # there was something to compare
    assert sum(int((own.swapped < 0.5).sum()) for own in ours) > 3


def scored_faults(count: int, *, seed: int) -> tuple[dict[str, np.ndarray], list[Fault | None]]:
    """Of images of which a fifth has a fault: their scores, and the detector's own lowest score."""
    rng = np.random.default_rng(seed)
    kinds: tuple[Fault, ...] = ("shift", "swap", "drop")
    faults: list[Fault | None] = [None if number % 5 else kinds[number // 5 % 3] for number in range(count)]
    pairs = [an_image(rng, fault) for fault in faults]
    found = label_quality([labels for labels, _ in pairs], [predicted for _, predicted in pairs])
    lowest = np.array([predicted.scores.min(initial=1.0) for _, predicted in pairs])
    return {"image": np.array([own.image for own in found]), "min_score": lowest}, faults


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.statistics)])
def test_images_with_a_wrong_label_score_lower_than_the_others_and_the_detectors_own_score_tells_nothing(
    rounds: int,
) -> None:
    found = [scored_faults(600, seed=seed) for seed in range(rounds)]

    def ranked(name: str, *kinds: Fault) -> float:
        areas = [
            auroc(scores[name][keep], is_right[keep])
            for scores, faults in found
            for is_right in [np.array([fault is None for fault in faults])]
            for keep in [np.array([fault is None or fault in kinds for fault in faults])]
        ]
        return float(np.mean(areas))

    assert ranked("image", "shift") >= 0.9
    assert ranked("image", "swap") >= 0.7
    assert ranked("image", "drop") > 0.6
    assert 0.4 < ranked("min_score", "shift", "swap", "drop") < 0.6


def quality(given: Boxes, predicted: Boxes) -> LabelQuality:
    [found] = label_quality([given], [predicted])
    return found


def test_labels_that_agree_with_the_detector_are_good() -> None:
    same = boxes((10, 10, 60, 60, 0, 0.99), (200, 200, 260, 250, 1, 0.99))

    found = quality(same, same)

    assert found.image > 0.95
    assert found.badly_located.tolist() == [1.0, 1.0]
    assert found.swapped == pytest.approx([1.0, 1.0])
    assert np.isnan(found.overlooked).all()


def test_each_kind_of_error_lowers_its_own_score() -> None:
    right = boxes((10, 10, 60, 60, 0, 0.99), (200, 200, 260, 250, 1, 0.99))
    one = boxes((10, 10, 60, 60, 0, 1.0))
    moved = boxes((10, 10, 60, 60, 0, 1.0), (225, 220, 285, 270, 1, 1.0))
    renamed = boxes((10, 10, 60, 60, 0, 1.0), (200, 200, 260, 250, 0, 1.0))

    assert quality(one, right).overlooked[1] < 0.05
    assert quality(moved, right).badly_located[1] < 0.5
    assert quality(renamed, right).swapped[1] < 0.05
    assert all(quality(labels, right).image < 0.9 for labels in (one, moved, renamed))


def test_a_detector_that_is_not_sure_accuses_nobody() -> None:
    unsure = boxes((10, 10, 60, 60, 0, 0.4), (200, 200, 260, 250, 1, 0.4))

    assert quality(boxes((100, 10, 130, 60, 1, 1.0)), unsure).image == pytest.approx(1.0)


def test_images_without_labels_or_without_predictions_are_judged() -> None:
    nothing, sure = boxes(), boxes((10, 10, 60, 60, 0, 0.99))

    assert quality(nothing, nothing).image == pytest.approx(1.0)
    assert quality(sure, nothing).image == pytest.approx(1.0)
    assert quality(nothing, sure).image < 0.3
    assert label_quality([], []) == []


def test_boxes_are_read_off_annotations() -> None:
    box = Annotation(id="0", label="cat", geometry=Box(xyxy=(1.0, 2.0, 3.0, 4.0)), score=0.7)
    other = replace(box, id="1", geometry=TextSpan(start=0, end=1))

    found = Boxes.of([other, box])

    assert found.boxes_xyxy.tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert (found.classes.tolist(), found.scores.tolist()) == (["cat"], [0.7])
    assert Boxes.of([]).boxes_xyxy.shape == (0, 4)
