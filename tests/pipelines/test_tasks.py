"""Checks that every uncertainty is named, bounded, and read from a signal that was there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import MEDIA_OF_TASK, Task
from pipelines.tasks import uncertainty

SIGNALS = (
    "min_score", "no_miss", "entropy_max", "entropy_mean", "margin_max", "stability_min", "soft_iou_min", "sentence",
    "mnlp", "mean_word_score", "mean_logprob", "compression_ratio", "temperature",
)  # fmt: skip


@given(st.sampled_from(list(MEDIA_OF_TASK)), st.dictionaries(st.sampled_from(SIGNALS), st.floats(-20, 20)))
def test_every_entry_lies_between_zero_and_one(task: Task, signals: dict[str, float]) -> None:
    assert all(0.0 <= value <= 1.0 for value in uncertainty(task, signals).values())


def test_a_missing_signal_is_left_out_and_not_guessed() -> None:
    assert uncertainty("detection", {"no_miss": 0.8}) == {"miss_risk": pytest.approx(0.2)}
    assert uncertainty("speech", {}) == {}


def test_a_repeating_transcript_is_uncertain() -> None:
    assert uncertainty("speech", {"compression_ratio": 2.4})["repetition"] == pytest.approx(1.0)
    assert uncertainty("speech", {"compression_ratio": 0.8})["repetition"] == 0.0
