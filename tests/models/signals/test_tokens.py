"""Checks what is read off the tag probabilities of a token classifier."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models import signals


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
    word = signals.token_classification(np.array([[1.0, 0.0]]), outside=0, span_scores=none, is_emitted=none > 0.5)

    assert read["no_miss"] == 1.0
    assert "min_score" not in read
    assert read.keys() == word.keys()


def test_total_entropy_adds_up_and_is_shared_out_over_what_must_be_read() -> None:
    distributions, none = np.array([[0.5, 0.5], [0.9, 0.1]]), np.zeros(0)
    read = signals.token_classification(
        distributions, outside=0, span_scores=none, is_emitted=none > 0.5, token_cost=8.0
    )
    alone = signals.token_classification(distributions, outside=0, span_scores=none, is_emitted=none > 0.5)

    total = 1.0 - (0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    assert read["entropy_sum"] == pytest.approx(total)
    assert read["entropy_per_cost"] == pytest.approx(total / 8.0)
    assert alone["entropy_per_cost"] == pytest.approx(alone["entropy_mean"]) == pytest.approx(total / 2.0)


def test_a_span_scores_as_its_weakest_token_or_as_all_of_them_together() -> None:
    best, spans = np.array([0.9, 0.8, 1.0, 0.5]), [(0, 2), (2, 3), (1, 4)]

    assert signals.least_token(best, spans).tolist() == [0.8, 1.0, 0.5]
    assert signals.token_product(best, spans).tolist() == pytest.approx([0.72, 1.0, 0.4])
    assert signals.least_token(best, []).shape == signals.token_product(best, []).shape == (0,)
