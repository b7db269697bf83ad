"""Checks which of a detector's candidates become annotations."""

from __future__ import annotations

import numpy as np
import pytest

from models.candidates import Candidates, Emission, prediction
from models.errors import ItemError

SIZE_HW = (100, 200)


def candidates(boxes: list[list[float]], scores: list[list[float]]) -> Candidates:
    return Candidates(boxes_xyxy=np.array(boxes, dtype=np.float64), class_scores=np.array(scores, dtype=np.float64))


def test_candidates_are_sorted_clipped_and_cut_at_min_score() -> None:
    found = candidates([[0, 0, 10, 10], [-5, 10, 300, 50], [0, 0, 9, 9]], [[0.6, 0.1], [0.2, 0.9], [0.4, 0.1]])

    result = prediction(found, Emission(labels=("cat", "dog"), min_score=0.5), size_hw=SIZE_HW)

    assert [(a.id, a.label, a.score) for a in result.annotations] == [("0", "dog", 0.9), ("1", "cat", 0.6)]
    assert result.annotations[0].geometry.xyxy == (0.0, 10.0, 200.0, 50.0)  # pyright: ignore[reportAttributeAccessIssue]
    assert result.signals["no_miss"] == pytest.approx(0.6)


def test_a_dropped_class_counts_as_no_possible_miss() -> None:
    found = candidates([[0, 0, 10, 10]], [[0.95, 0.1]])

    result = prediction(found, Emission(labels=(None, "dog"), min_score=0.5), size_hw=SIZE_HW)

    assert result.status == "nothing_found"
    assert result.signals["no_miss"] == pytest.approx(0.9)


def test_a_duplicate_that_nms_removes_counts_as_no_possible_miss() -> None:
    found = candidates([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9]], [[0.9, 0.0], [0.45, 0.0], [0.0, 0.3]])

    result = prediction(found, Emission(labels=("cat", "dog"), min_score=0.5, nms_iou=0.7), size_hw=SIZE_HW)

    assert len(result.annotations) == 1
    assert result.signals["no_miss"] == pytest.approx(0.7)


def test_boxes_without_area_are_no_candidates() -> None:
    found = candidates([[10, 10, 10, 40], [300, 0, 400, 10]], [[0.9], [0.9]])

    result = prediction(found, Emission(labels=("cat",), min_score=0.5), size_hw=SIZE_HW)

    assert result.status == "nothing_found"
    assert result.signals == {"no_miss": 1.0}


def test_no_candidates_at_all_find_nothing() -> None:
    found = Candidates(boxes_xyxy=np.zeros((0, 4)), class_scores=np.zeros((0, 2)))

    result = prediction(found, Emission(labels=("cat", "dog"), min_score=0.5, nms_iou=0.5), size_hw=SIZE_HW)

    assert result.status == "nothing_found"


def test_scores_that_are_not_finite_fail_the_item() -> None:
    found = candidates([[0, 0, 10, 10]], [[float("nan")]])

    with pytest.raises(ItemError) as caught:
        prediction(found, Emission(labels=("cat",), min_score=0.5), size_hw=SIZE_HW)

    assert caught.value.code == "model_failed"
