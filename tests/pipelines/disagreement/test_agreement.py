"""Checks how predictions are compared, by hand and by properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.geometry import encode_mask
from models.types import Annotation, Box, Geometry, Prediction, Task, TextSpan, TimeSpan
from pipelines.disagreement.agreement import agreement, box_f1, mask_agreement, pairs, span_f1, transcript

TASKS: tuple[Task, ...] = ("detection", "segmentation", "ner", "speech")


def said(*parts: tuple[str, Geometry], text: str | None = None) -> Prediction:
    found = (
        Annotation(id=str(n), label=label, geometry=geometry, score=0.9, text=text)
        for n, (label, geometry) in enumerate(parts)
    )
    return Prediction(annotations=tuple(found))


def a_box(x: float, *, label: str = "cat") -> tuple[str, Geometry]:
    return label, Box(xyxy=(x, 0.0, x + 10.0, 10.0))


def a_mask(rows: slice, *, label: str = "cat") -> tuple[str, Geometry]:
    bitmap = np.zeros((8, 8), dtype=bool)
    bitmap[rows] = True
    return label, encode_mask(bitmap)


def test_boxes_pair_by_label_and_half_an_overlap() -> None:
    one = said(a_box(0.0), a_box(50.0), a_box(100.0, label="dog"))
    other = said(a_box(1.0), a_box(56.0), a_box(100.0, label="cat"))

    assert box_f1(one, other) == pytest.approx(2 * 1 / 6)


def test_a_box_has_one_partner_only() -> None:
    assert box_f1(said(a_box(0.0)), said(a_box(0.0), a_box(1.0))) == pytest.approx(2 / 3)


def test_spans_must_be_equal() -> None:
    one = said(("person", TextSpan(start=0, end=4)), ("place", TextSpan(start=8, end=12)))
    other = said(("person", TextSpan(start=0, end=4)), ("person", TextSpan(start=8, end=12)))

    assert span_f1(one, other) == pytest.approx(0.5)


def test_masks_count_by_their_overlap_and_a_missing_one_as_none() -> None:
    one = said(a_mask(slice(0, 4)), a_mask(slice(6, 8)))
    other = said(a_mask(slice(2, 6)))

    assert mask_agreement(one, other) == pytest.approx((2 / 6) / 2)
    assert mask_agreement(one, said()) == 0.0


def test_a_transcript_is_what_the_segments_say_in_order_and_not_their_words_again() -> None:
    late = Annotation(id="1", label="speech", geometry=TimeSpan(start_s=3, end_s=4), score=0.9, text="go left")
    early = Annotation(id="0", label="speech", geometry=TimeSpan(start_s=0, end_s=1), score=0.9, text="stop")
    word = Annotation(
        id="1.0", label="word", geometry=TimeSpan(start_s=3, end_s=3.4), score=0.9, text="go", parent_id="1"
    )

    assert transcript(Prediction(annotations=(late, word, early))) == "stop go left"


def test_transcripts_differ_by_their_words() -> None:
    one, other = (said(("speech", TimeSpan(start_s=0, end_s=1)), text=text) for text in ("go left now", "go right now"))

    assert agreement("speech", one, other) == pytest.approx(2 / 3)
    assert agreement("speech", one, said()) == 0.0


@pytest.mark.parametrize("task", TASKS)
def test_two_that_find_nothing_agree(task: Task) -> None:
    assert agreement(task, said(), said()) == 1.0


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.floats(0, 1)))
def test_pairs_are_disjoint_and_leave_no_similar_two_alone(similarity: np.ndarray) -> None:
    found = pairs(similarity)

    rows, columns = {row for row, _ in found}, {column for _, column in found}
    assert len(rows) == len(columns) == len(found)
    left = np.delete(np.delete(similarity, sorted(rows), axis=0), sorted(columns), axis=1)
    assert (left <= 0.0).all()


def test_nothing_pairs_with_nothing() -> None:
    assert pairs(np.zeros((0, 3))) == pairs(np.zeros((2, 0))) == []
