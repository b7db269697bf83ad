"""Tests that the loss is 0 for what is acceptable, 1 for what is not, and says which annotations are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError
from models.types import Annotation, Box, Task, TextSpan, WholeItem
from pipelines.corrections.acceptable import ACCEPTABLE, Acceptable, loss, right_ones
from tests.pipelines.corrections.builders import a_box, a_mask, a_segment, a_span, annotations_of, heard, one

TASKS: tuple[Task, ...] = get_args(Task)
GRADED = Acceptable(graded=True)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("graded", [False, True])
@given(data=st.data())
def test_what_is_right_loses_nothing_in_any_order_under_any_ids(task: Task, graded: bool, data: st.DataObject) -> None:
    ours = data.draw(annotations_of(task))
    theirs = [replace(one, id=f"other {one.id}", score=1.0) for one in _permuted(task, data, ours)]

    assert loss(task, ours, theirs, replace(ACCEPTABLE[task], graded=graded)) == 0.0


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_a_loss_is_a_share_and_depends_on_no_id_and_no_order(task: Task, data: st.DataObject) -> None:
    ours, theirs = data.draw(annotations_of(task)), data.draw(annotations_of(task))
    graded = replace(ACCEPTABLE[task], graded=True)
    renamed = [replace(one, id=f"other {one.id}") for one in _permuted(task, data, theirs)]

    share, strict = loss(task, ours, theirs, graded), loss(task, ours, theirs, ACCEPTABLE[task])

    assert 0.0 <= share <= 1.0
    assert strict == float(share > 0.0)
    assert loss(task, ours, renamed, graded) == share


@pytest.mark.parametrize("task", ["detection", "ner"])
@given(data=st.data())
def test_the_right_ones_are_all_where_nothing_is_lost_and_not_all_or_one_missed_else(
    task: Task, data: st.DataObject
) -> None:
    ours, theirs = data.draw(annotations_of(task, most=3)), data.draw(annotations_of(task, most=3))

    is_right = right_ones(task, ours, theirs, ACCEPTABLE[task])

    assert (loss(task, ours, theirs, ACCEPTABLE[task]) == 0.0) == (all(is_right) and len(ours) == len(theirs))


@pytest.mark.parametrize(
    ("predicted", "right", "expected", "graded"),
    [
        ([], [], 0.0, 0.0),
        ([a_box(0)], [], 1.0, 1.0),
        ([], [a_box(0)], 1.0, 1.0),
        ([a_box(0)], [a_box(3)], 0.0, 0.0),  # an IoU of 7/13
        ([a_box(0)], [a_box(4)], 1.0, 1.0),  # of 6/14
        ([a_box(0)], [a_box(0, "dog")], 1.0, 1.0),
        ([a_box(0), a_box(50)], [a_box(0)], 1.0, 1 / 3),  # an F1 of 2/3
        ([a_box(0), a_box(0)], [a_box(0)], 1.0, 1 / 3),  # a duplicate has to be deleted
        ([one(WholeItem(), "indoor")], [one(WholeItem(), "outdoor")], 1.0, 1.0),
    ],
)
def test_a_detection_loses_by_hand(
    predicted: list[Annotation], right: list[Annotation], expected: float, graded: float
) -> None:
    assert loss("detection", predicted, right, Acceptable()) == expected
    assert loss("detection", predicted, right, GRADED) == pytest.approx(graded)


@pytest.mark.parametrize(("columns", "expected"), [((0, 20), 0.0), ((0, 25), 0.0), ((0, 26), 1.0)])
def test_a_mask_must_overlap_by_its_own_measure(columns: tuple[int, int], expected: float) -> None:
    assert loss("segmentation", [a_mask((0, 20))], [a_mask(columns)], ACCEPTABLE["segmentation"]) == expected


def test_a_box_beside_masks_counts_only_where_the_human_has_boxes_too() -> None:
    predicted = [a_box(0, side=20), replace(a_mask((0, 20), id="m0"), parent_id="0")]
    masks, strict = [a_mask((0, 20))], ACCEPTABLE["segmentation"]

    assert loss("segmentation", predicted, masks, strict) == 0.0
    assert loss("segmentation", predicted, [*masks, a_box(5, side=20, id="1")], strict) == 0.0  # an IoU of 0.6
    assert loss("segmentation", predicted, [*masks, a_box(15, side=20, id="1")], strict) == 1.0
    assert loss("segmentation", predicted, [a_box(0, side=20)], strict) == 1.0  # the mask is spurious
    assert loss("segmentation", [a_box(0)], [a_box(0)], strict) == 0.0
    assert loss("segmentation", [a_box(0)], [], strict) == 1.0


def test_boxes_and_masks_are_right_each_by_itself() -> None:
    box, mask = a_box(0, side=20), replace(a_mask((0, 20), id="m0"), parent_id="0")

    worse_mask = right_ones("segmentation", [box, mask], [a_mask((0, 30))], ACCEPTABLE["segmentation"])
    other_box = right_ones("segmentation", [a_box(30), mask], [a_mask((0, 20))], ACCEPTABLE["segmentation"])

    assert worse_mask == (True, False)  # the box is held against the extent of the right mask: an IoU of 2/3
    assert other_box == (False, True)


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ([a_span(0, 5)], 0.0),
        ([a_span(0, 5, "place")], 1.0),
        ([a_span(0, 6)], 1.0),
        ([], 1.0),
        ([a_span(0, 5), a_span(7, 9)], 1.0),
    ],
)
def test_spans_must_be_exact_whatever_the_iou(right: list[Annotation], expected: float) -> None:
    assert loss("ner", [a_span(0, 5)], right, Acceptable(iou=0.1)) == expected


def test_a_transcript_loses_by_its_word_error_rate() -> None:
    ours, theirs = [a_segment("a b c d")], [a_segment("A, b x d.")]

    assert loss("speech", ours, theirs, Acceptable(wer=0.0)) == 1.0
    assert loss("speech", ours, theirs, Acceptable(wer=0.25)) == 0.0
    assert loss("speech", ours, theirs, GRADED) == 0.25
    assert loss("speech", [a_segment("a b c")], [], GRADED) == 1.0
    assert loss("speech", [], [], Acceptable()) == 0.0


def test_a_heard_word_is_right_by_itself_and_a_segment_with_all_its_words() -> None:
    segments = [a_segment("one two", 0, 1, id="0"), a_segment("three four", 1, 2, id="1")]
    words = [replace(w, id=f"w{w.id}", parent_id="0" if w.id in "01" else "1") for w in heard("one two three four")]
    answer = [a_segment("one too three four", 0, 2)]

    assert right_ones("speech", [*segments, *words], answer, Acceptable()) == (False, True, True, False, True, True)


def test_a_missing_word_makes_a_segment_wrong_and_no_word() -> None:
    segment = a_segment("one three", 0, 1)
    words = [replace(word, parent_id="0", id=f"w{word.id}") for word in heard("one three")]

    assert right_ones("speech", [segment, *words], [a_segment("one two three")], Acceptable()) == (False, True, True)
    assert right_ones("speech", [a_segment("two three")], [a_segment("one two three")], Acceptable()) == (False,)


def test_the_defaults_of_a_task_hold_but_for_what_is_said() -> None:
    assert Acceptable.of("segmentation", {"graded": True}) == Acceptable(iou=0.8, graded=True)


@pytest.mark.parametrize("said", [{"iou": 0.0}, {"iou": 1.5}, {"wer": -1.0}, {"wer": float("inf")}, {"tau": 0.5}])
def test_what_makes_no_sense_is_refused(said: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="what is acceptable for detection"):
        Acceptable.of("detection", said)


def test_the_id_names_the_content() -> None:
    assert Acceptable().id == Acceptable(iou=0.5).id
    assert len({Acceptable().id, Acceptable(iou=0.6).id, Acceptable(wer=0.1).id, GRADED.id}) == 4


def test_one_geometry_stands_for_another_in_no_kind() -> None:
    whole, span = one(WholeItem()), one(TextSpan(start=0, end=1))

    assert loss("ner", [whole], [span], Acceptable()) == 1.0
    assert right_ones("detection", [whole], [one(Box(xyxy=(0, 0, 1, 1)))], Acceptable()) == (False,)


def _permuted(task: Task, data: st.DataObject, given: Sequence[Annotation]) -> list[Annotation]:
    """In another order; of time spans at one moment the order says what was said first."""
    return list(given) if task == "speech" else data.draw(st.permutations(given))
