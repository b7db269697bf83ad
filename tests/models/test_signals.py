"""Checks the signals against values worked out by hand and against their stated ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import signals

probabilities = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0.0, 1.0))
logits = hnp.arrays(np.float32, (2, 5, 7), elements=st.floats(-30, 30, width=32))


def distributions(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=-1, keepdims=True)


@given(probabilities)
def test_binary_entropy_lies_in_its_range_and_peaks_at_one_half(p: np.ndarray) -> None:
    entropy = signals.binary_entropy(p)

    assert ((entropy >= 0) & (entropy <= 1)).all()
    assert signals.binary_entropy(np.array([0.5]))[0] == pytest.approx(1.0)


@given(hnp.arrays(np.float64, (4, 6), elements=st.floats(0.01, 1.0)))
def test_entropy_and_margin_and_tsallis_lie_in_their_ranges(weights: np.ndarray) -> None:
    p = distributions(weights)

    for values in (signals.normalised_entropy(p), signals.margin(p), signals.tsallis_confidence(p)):
        assert values.shape == (4,)
        assert ((values >= 0) & (values <= 1)).all()


def test_the_uniform_and_the_one_hot_distribution_are_the_two_ends() -> None:
    both = np.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]])

    assert signals.normalised_entropy(both) == pytest.approx([1.0, 0.0], abs=1e-9)
    assert signals.margin(both) == pytest.approx([1.0, 0.0])
    assert signals.tsallis_confidence(both) == pytest.approx([0.0, 1.0], abs=1e-9)


def test_detection_reads_the_weakest_box_and_the_strongest_rejected_one() -> None:
    class_scores = np.array([[0.9, 0.1], [0.6, 0.5], [0.3, 0.2], [0.1, 0.05]])

    read = signals.detection(class_scores, is_emitted=np.array([True, True, False, False]))

    assert read["min_score"] == pytest.approx(0.6)
    assert read["no_miss"] == pytest.approx(0.7)
    assert read["margin_max"] == pytest.approx(0.9)
    assert read["entropy_max"] == pytest.approx(-(0.6 * math.log2(0.6) + 0.4 * math.log2(0.4)))


def test_detection_without_boxes_says_only_how_sure_it_is_of_that() -> None:
    nothing = signals.detection(np.array([[0.2, 0.1]]), is_emitted=np.array([False]))
    no_candidate = signals.detection(np.zeros((0, 3)), is_emitted=np.zeros(0, bool))

    assert nothing == {"no_miss": pytest.approx(0.8)}
    assert no_candidate == {"no_miss": 1.0}


def test_stability_is_the_ratio_of_the_tight_to_the_loose_mask() -> None:
    mask = np.full((1, 4, 4), -5.0)
    mask[0, 1:3, 1:3] = 5.0  # 4 pixels in both
    mask[0, 0, :] = 0.0  # 4 pixels in the loose one only

    assert signals.stability(mask) == pytest.approx([0.5])
    assert signals.stability(np.full((1, 4, 4), -5.0)) == pytest.approx([0.0])


@given(logits)
def test_mask_scores_lie_in_their_range(mask_logits: np.ndarray) -> None:
    for values in (signals.stability(mask_logits), signals.soft_iou(mask_logits)):
        assert ((values >= 0) & (values <= 1)).all()


def test_a_confident_mask_has_a_soft_iou_near_one() -> None:
    mask = np.full((1, 4, 4), -20.0)
    mask[0, :2] = 20.0

    assert signals.soft_iou(mask) == pytest.approx([1.0], abs=1e-6)


def test_the_sentence_score_falls_when_an_entity_may_have_been_missed() -> None:
    sure = np.array([[0.98, 0.02], [0.01, 0.99]])
    doubtful = np.array([[0.55, 0.45], [0.01, 0.99]])
    spans = np.array([0.99])

    safe = signals.token_classification(sure, outside=0, span_scores=spans, is_emitted=spans > 0.5)
    risky = signals.token_classification(doubtful, outside=0, span_scores=spans, is_emitted=spans > 0.5)

    assert safe["no_miss"] == pytest.approx(0.98)
    assert safe["sentence"] == pytest.approx(0.98 * 0.99)
    assert risky["sentence"] < safe["sentence"]
    assert risky["min_score"] == safe["min_score"]


def test_a_span_that_is_held_back_may_be_one_that_is_missed() -> None:
    distributions = np.array([[0.98, 0.01, 0.01], [0.03, 0.49, 0.48], [0.01, 0.99, 0.0]])
    spans = np.array([0.49, 0.99])

    read = signals.token_classification(distributions, outside=0, span_scores=spans, is_emitted=spans > 0.5)

    assert read["no_miss"] == pytest.approx(0.98 * (1 - 0.49))
    assert read["sentence"] == pytest.approx(0.99 * 0.98 * (1 - 0.49))
    assert read["min_score"] == 0.99


def test_an_empty_text_misses_nothing() -> None:
    none = np.zeros(0)
    read = signals.token_classification(np.zeros((0, 3)), outside=0, span_scores=none, is_emitted=none > 0.5)

    assert read["no_miss"] == 1.0
    assert "min_score" not in read


def test_unworded_speech_counts_as_a_possible_miss() -> None:
    facts = {"mean_logprob": 0.0, "compression_ratio": 0.0, "temperature": 0.0, "duration_s": 10.0}

    silent = signals.speech(np.zeros(0), no_speech=0.9, speech_s=0.0, wordless_s=0.0, **facts)
    missed = signals.speech(np.zeros(0), no_speech=0.1, speech_s=8.0, wordless_s=8.0 * 0.9, **facts)
    partly = signals.speech(np.array([0.9]), no_speech=0.1, speech_s=8.0, wordless_s=3.0, **facts)

    assert silent["no_miss"] == pytest.approx(1.0)
    assert missed["no_miss"] == pytest.approx(1.0 - 0.8 * 0.9)
    assert partly["no_miss"] == pytest.approx(0.7)
    assert "wordless_s" not in partly
