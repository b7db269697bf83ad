"""Checks what is read off a detector's scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models import signals


def test_detection_reads_the_weakest_box_and_the_strongest_rejected_one() -> None:
    class_scores = np.array([[0.9, 0.1], [0.6, 0.5], [0.3, 0.2], [0.1, 0.05]])

    read = signals.detection(class_scores, is_emitted=np.array([True, True, False, False]))

    def entropy(p: float) -> float:
        return -(p * math.log2(p) + (1.0 - p) * math.log2(1.0 - p))

    assert read["min_score"] == pytest.approx(0.6)
    assert read["no_miss"] == pytest.approx(0.7)
    assert read["margin_max"] == pytest.approx(0.9)
    assert read["entropy_max"] == pytest.approx(entropy(0.6))
    assert read["entropy_mean"] == pytest.approx((entropy(0.6) + entropy(0.9)) / 2)
    assert read["entropy_sum"] == pytest.approx(entropy(0.6) + entropy(0.9))
    assert 0.6 < read["softmin_score"] < 0.75


def test_detection_without_boxes_says_only_how_sure_it_is_of_that() -> None:
    nothing = signals.detection(np.array([[0.2, 0.1]]), is_emitted=np.array([False]))
    no_candidate = signals.detection(np.zeros((0, 3)), is_emitted=np.zeros(0, bool))

    assert nothing == {"no_miss": pytest.approx(0.8)}
    assert no_candidate == {"no_miss": 1.0}
