"""Tests that a correction counts what was changed, and that its counts add up."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import Task
from pipelines.corrections.acceptable import ACCEPTABLE, right_ones
from pipelines.corrections.correction import LabelCounts, correction
from pipelines.corrections.errors import ERRORS
from tests.pipelines.corrections.builders import a_box, a_mask, a_segment, a_span, annotations_of, heard

TASKS: tuple[Task, ...] = get_args(Task)


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_the_counts_add_up(task: Task, data: st.DataObject) -> None:
    ours, theirs = data.draw(annotations_of(task)), data.draw(annotations_of(task))

    found = correction(task, ours, theirs)

    assert found.unchanged + found.edited + found.rejected == len(ours)
    assert found.unchanged + found.edited + found.added == len(theirs)
    counts = found.by_label.values()
    for name in ("unchanged", "edited", "rejected", "added"):
        assert sum(getattr(of, name) for of in counts) == getattr(found, name)
    assert sum(of.right + of.wrong for of in counts) == len(ours)
    assert sum(of.right for of in counts) == sum(right_ones(task, ours, theirs, ACCEPTABLE[task]))
    assert found.errors.keys() <= set(ERRORS[task])
    assert all(count > 0 for count in found.errors.values())
    assert found.cost >= 0.0


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_nothing_is_changed_between_equal_sets(task: Task, data: st.DataObject) -> None:
    ours = data.draw(annotations_of(task))

    found = correction(task, ours, [replace(one, id=f"other {one.id}", score=1.0) for one in ours])

    assert (found.unchanged, found.is_untouched, found.cost, found.errors) == (len(ours), True, 0.0, {})
    assert all((of.wrong, of.missed) == (0, 0) for of in found.by_label.values())


@pytest.mark.parametrize("task", ["detection", "segmentation", "ner"])
@given(data=st.data())
def test_a_correction_does_not_depend_on_the_order(task: Task, data: st.DataObject) -> None:
    ours, theirs = data.draw(annotations_of(task)), data.draw(annotations_of(task))
    shuffled = correction(task, data.draw(st.permutations(ours)), data.draw(st.permutations(theirs)))

    found = correction(task, ours, theirs)

    assert replace(shuffled, iou=None, cost=0.0) == replace(found, iou=None, cost=0.0)
    assert shuffled.iou == pytest.approx(found.iou)
    assert shuffled.cost == pytest.approx(found.cost)


@given(data=st.data())
def test_every_box_without_a_right_counterpart_is_an_error_of_one_type(data: st.DataObject) -> None:
    ours, theirs = data.draw(annotations_of("detection")), data.draw(annotations_of("detection"))

    found = correction("detection", ours, theirs)

    alone = found.errors.get("spurious", 0) + found.errors.get("duplicate", 0)
    assert alone == found.rejected
    assert found.errors.get("missed", 0) == found.added


def test_a_detection_is_corrected_by_hand() -> None:
    predicted = [a_box(0, id="0"), a_box(50, id="1"), a_box(100, id="2"), a_box(150, id="3")]
    answer = [a_box(0, id="0"), a_box(52, id="1"), a_box(100, "dog", id="2"), a_box(200, id="4")]

    found = correction("detection", predicted, answer)

    assert (found.unchanged, found.edited, found.rejected, found.added) == (1, 2, 1, 1)
    assert found.errors == {"missed": 1, "spurious": 1, "class": 1}
    assert found.iou == pytest.approx((1 + 8 / 12 + 1) / 3)
    assert (found.span_f1, found.wer) == (None, None)
    assert found.by_label == {
        "cat": LabelCounts(unchanged=1, edited=2, rejected=1, added=1, right=2, wrong=2, missed=1),
        "dog": LabelCounts(missed=1),
    }
    assert found.cost == 7 + 1 + 1 + (7 + 1)  # drawn anew, relabelled, deleted, drawn and named


def test_spans_have_an_f1_and_transcripts_a_word_error_rate() -> None:
    spans = correction("ner", [a_span(0, 5), a_span(7, 9)], [a_span(0, 5), a_span(7, 10), a_span(20, 25)])
    speech = correction("speech", [a_segment("a b c d")], [a_segment("a x c d")])

    assert spans.span_f1 == pytest.approx(2 * 1 / 5)
    assert (spans.iou, spans.wer) == (None, None)
    assert (speech.wer, speech.span_f1, speech.iou) == (0.25, None, None)
    assert (speech.edited, speech.cost) == (1, 1.5)


def test_nothing_predicted_and_nothing_right_is_untouched() -> None:
    assert correction("ner", [], []).span_f1 == 1.0
    assert correction("speech", [], []).wer == 0.0
    assert correction("detection", [], []).is_untouched


def test_a_box_beside_masks_costs_nothing() -> None:
    found = correction("segmentation", [a_box(0), a_mask((0, 20), id="m0")], [a_mask((0, 30))])

    assert found.cost == 14.0
    assert found.rejected == 1


def test_of_single_words_each_is_counted() -> None:
    found = correction("speech", heard("one two three"), heard("one too three"))

    assert (found.unchanged, found.edited) == (2, 1)
    assert found.by_label["word"] == LabelCounts(unchanged=2, edited=1, right=2, wrong=1, missed=1)
