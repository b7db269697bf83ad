"""Checks that every uncertainty is named, bounded, read from a signal that was there, and higher for what is worse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import signals
from models.types import MEDIA_OF_TASK, Task
from pipelines.tasks import uncertainty

# What is better by more (+1) or by less (−1) of it, with an ordinary value and a worse one.
SIGNALS: dict[str, tuple[float, float]] = {
    "min_score": (0.9, 0.3),
    "softmin_score": (0.9, 0.3),
    "no_miss": (0.95, 0.4),
    "no_speech": (0.1, 0.1),
    "entropy_max": (0.2, 0.9),
    "entropy_mean": (0.1, 0.5),
    "entropy_sum": (0.4, 4.0),
    "entropy_per_cost": (0.05, 0.4),
    "margin_max": (0.2, 0.8),
    "stability_min": (0.95, 0.5),
    "soft_iou_min": (0.9, 0.5),
    "predicted_iou_min": (0.93, 0.4),
    "sentence": (0.9, 0.2),
    "mnlp": (-0.01, -0.8),
    "mutual_information_max": (0.1, 0.6),
    "mutual_information_mean": (0.01, 0.2),
    "variation_ratio_max": (0.1, 0.5),
    "variation_ratio_mean": (0.0, 0.2),
    "mean_word_score": (0.95, 0.5),
    "mean_logprob": (-0.1, -1.2),
    "compression_ratio": (1.2, 2.2),
    "temperature": (0.0, 0.6),
    "wordless_share": (0.0, 0.7),
    "words_per_s": (2.5, 0.2),
    "tsallis_min": (0.8, 0.1),
    "tsallis_mean": (0.9, 0.4),
    "expected_wer": (0.05, 0.6),
}
TASKS = list(MEDIA_OF_TASK)
numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.sampled_from(TASKS), st.dictionaries(st.sampled_from(list(SIGNALS)), numbers))
def test_every_entry_lies_between_zero_and_one_whatever_the_signals(task: Task, found: dict[str, float]) -> None:
    assert all(0.0 <= value <= 1.0 for value in uncertainty(task, found).values())


@pytest.mark.parametrize("task", TASKS)
def test_a_worse_signal_makes_its_entries_higher_and_no_other_lower(task: Task) -> None:
    usual = {name: value for name, (value, _) in SIGNALS.items()}
    read = uncertainty(task, usual)

    for name, (_, worse) in SIGNALS.items():
        changed = uncertainty(task, usual | {name: worse})
        assert changed.keys() == read.keys()
        assert all(changed[entry] >= read[entry] for entry in read)
    worst = uncertainty(task, {name: worse for name, (_, worse) in SIGNALS.items()})
    assert all(worst[entry] > read[entry] for entry in read)


def test_a_missing_signal_is_left_out_and_not_guessed() -> None:
    assert uncertainty("detection", {"no_miss": 0.8, "min_score": 0.9}) == {
        "least_confidence": pytest.approx(0.1),
        "miss_risk": pytest.approx(0.2),
    }
    assert uncertainty("speech", {}) == {}


@pytest.mark.parametrize("task", TASKS)
def test_what_has_no_annotations_tells_how_unsure_that_is_and_what_has_some_does_not(task: Task) -> None:
    empty, labelled = {"no_miss": 0.9, "no_speech": 0.9}, {"no_miss": 0.9, "no_speech": 0.9, "min_score": 0.8}

    assert uncertainty(task, empty)["nothing_found"] == pytest.approx(signals.binary_entropy(np.array([0.1]))[0])
    assert uncertainty(task, empty)["miss_risk"] == pytest.approx(0.1)
    assert "nothing_found" not in uncertainty(task, labelled)


def test_an_empty_item_is_the_less_sure_the_likelier_something_is_there() -> None:
    found = [uncertainty("detection", {"no_miss": 1.0 - p})["nothing_found"] for p in (0.0, 0.1, 0.3, 0.5, 0.8)]

    assert found == sorted(found)
    assert found[0] == pytest.approx(0.0, abs=1e-9)
    assert found[3] == found[4] == pytest.approx(1.0)


def test_a_silent_recording_is_doubted_when_the_recogniser_hears_speech_in_a_small_part_of_it() -> None:
    """Voice detection left one second of a minute: for ``no_miss`` that is little."""
    quiet = uncertainty("speech", {"no_miss": 0.99, "no_speech": 0.99})["nothing_found"]
    heard = uncertainty("speech", {"no_miss": 0.99, "no_speech": 0.3})["nothing_found"]

    assert quiet < 0.1
    assert heard == pytest.approx(1.0)


def test_a_repeating_transcript_is_uncertain() -> None:
    assert uncertainty("speech", {"compression_ratio": 2.4})["repetition"] == pytest.approx(1.0)
    assert uncertainty("speech", {"compression_ratio": 0.8})["repetition"] == 0.0


def test_a_transcript_that_had_to_be_sampled_is_a_failure_however_little() -> None:
    assert uncertainty("speech", {"temperature": 0.2})["fallback"] == 1.0
    assert uncertainty("speech", {"temperature": 0.0})["fallback"] == 0.0


def test_too_few_and_too_many_words_a_second_are_suspect() -> None:
    paces = {rate: uncertainty("speech", {"words_per_s": rate})["pace"] for rate in (0.0, 0.5, 1.0, 2.5, 5.0, 10.0)}

    assert paces == pytest.approx({0.0: 1.0, 0.5: 0.5, 1.0: 0.0, 2.5: 0.0, 5.0: 0.0, 10.0: 0.5})


def test_the_sum_of_many_boxes_doubts_stays_below_one_and_still_ranks_them() -> None:
    few, many = (uncertainty("detection", {"entropy_sum": total})["entropy_sum"] for total in (0.5, 8.0))

    assert few == pytest.approx(1.0 - math.exp(-0.5))
    assert few < many < 1.0


def test_a_predicted_iou_above_one_is_no_doubt_and_one_below_zero_all_of_it() -> None:
    assert uncertainty("segmentation", {"predicted_iou_min": 1.07})["predicted_error"] == 0.0
    assert uncertainty("segmentation", {"predicted_iou_min": -0.02})["predicted_error"] == 1.0
