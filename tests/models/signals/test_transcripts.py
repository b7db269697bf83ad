"""Checks what is read off a transcript, and how far apart several readings of one recording are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import signals

texts = st.lists(st.sampled_from(["go", "left", "stop", "now"]), max_size=6).map(" ".join)
FACTS: dict[str, Any] = {"mean_logprob": 0.0, "compression_ratio": 0.0, "temperature": 0.0, "duration_s": 10.0}


def test_unworded_speech_counts_as_a_possible_miss() -> None:
    silent = signals.speech(np.zeros(0), no_speech=0.9, speech_s=0.0, wordless_s=0.0, **FACTS)
    missed = signals.speech(np.zeros(0), no_speech=0.1, speech_s=8.0, wordless_s=8.0 * 0.9, **FACTS)
    partly = signals.speech(np.array([0.9]), no_speech=0.1, speech_s=8.0, wordless_s=3.0, **FACTS)

    assert silent["no_miss"] == pytest.approx(1.0)
    assert missed["no_miss"] == pytest.approx(1.0 - 0.8 * 0.9)
    assert partly["no_miss"] == pytest.approx(0.7)
    assert "wordless_s" not in partly
    assert "wordless_share" not in silent
    assert missed["wordless_share"] == pytest.approx(0.9)
    assert partly["wordless_share"] == pytest.approx(3.0 / 8.0)


def test_words_are_counted_by_the_seconds_of_speech_and_not_of_the_recording() -> None:
    read = signals.speech(np.array([0.9, 0.5, 0.8]), no_speech=0.0, speech_s=2.0, wordless_s=0.0, **FACTS)

    assert read["words_per_s"] == pytest.approx(1.5)
    assert read["min_score"] == 0.5


def test_what_a_recogniser_does_not_tell_is_left_out() -> None:
    told = signals.speech(
        np.ones(1),
        no_speech=0.0,
        speech_s=1.0,
        wordless_s=0.0,
        token_confidences=np.array([0.4, 0.8]),
        expected_errors=0.25,
        **FACTS,
    )
    untold = signals.speech(np.ones(1), no_speech=0.0, speech_s=1.0, wordless_s=0.0, **FACTS)

    assert (told["tsallis_min"], told["tsallis_mean"]) == (0.4, pytest.approx(0.6))
    assert told["expected_wer"] == 0.25
    assert not {"tsallis_min", "tsallis_mean", "expected_wer"} & untold.keys()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("go left now", "Go left, now!", 0.0),
        ("go left now", "go right now", 1 / 3),
        ("go left now", "go", 2 / 3),
        ("go", "go go go", 2.0),
        ("", "", 0.0),
        ("", "go", 1.0),
        ("go", "", 1.0),
    ],
)
def test_words_are_compared_without_case_and_punctuation(reference: str, hypothesis: str, rate: float) -> None:
    assert signals.word_error_rate(reference, hypothesis) == pytest.approx(rate)


@given(texts, st.floats(-50.0, 0.0), st.floats(0.1, 5.0))
def test_a_single_reading_has_nothing_to_differ_from(text: str, score: float, temperature: float) -> None:
    assert signals.expected_wer([text], np.array([score]), temperature=temperature) == 0.0


def test_expected_errors_are_weighted_by_how_likely_each_reading_is() -> None:
    readings = ["go left", "go right", "stop right"]
    scores = np.log([0.6, 0.3, 0.1])

    assert signals.expected_wer(readings, scores) == pytest.approx(0.3 * 0.5 + 0.1 * 1.0)
    assert signals.expected_wer(readings, scores, temperature=1e6) == pytest.approx((0.5 + 1.0) / 3, abs=1e-5)


@given(st.lists(texts, min_size=1, max_size=5), st.data())
def test_expected_errors_are_never_negative_and_zero_for_readings_that_agree(readings: list[str], data: Any) -> None:
    scores = np.array(data.draw(st.lists(st.floats(-50, 0), min_size=len(readings), max_size=len(readings))))

    assert signals.expected_wer(readings, scores) >= 0.0
    assert signals.expected_wer([readings[0]] * len(readings), scores) == 0.0


def test_expected_errors_grow_with_the_noise_in_the_readings() -> None:
    rng = np.random.default_rng(2)
    words = np.array([f"w{number}" for number in range(12)])

    def noisy(share: float) -> str:
        is_wrong = rng.random(len(words)) < share
        return " ".join(np.where(is_wrong, "other", words))

    def expected(share: float) -> float:
        return signals.expected_wer([" ".join(words), *(noisy(share) for _ in range(4))], np.zeros(5))

    means = [np.mean([expected(share) for _ in range(60)]) for share in (0.0, 0.1, 0.25, 0.5, 0.8)]

    assert means[0] == 0.0
    assert (np.diff(means) > 0.03).all()
