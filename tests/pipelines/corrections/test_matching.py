"""Tests that annotations are matched one to one, whatever their order and ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import Annotation, Polygon, Task, TextSpan
from pipelines.corrections.matching import Matching, is_same, matching, matching_at
from tests.pipelines.corrections.builders import a_box, a_mask, a_segment, a_span, annotations_of, one

TASKS: tuple[Task, ...] = get_args(Task)


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_everybody_is_matched_once_or_alone(task: Task, data: st.DataObject) -> None:
    ours, theirs = data.draw(annotations_of(task)), data.draw(annotations_of(task))

    found = matching(ours, theirs)

    assert sorted([*(pair.predicted for pair in found.pairs), *found.predicted_alone]) == list(range(len(ours)))
    assert sorted([*(pair.right for pair in found.pairs), *found.right_alone]) == list(range(len(theirs)))


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_a_set_matches_itself_each_by_its_own_like(task: Task, data: st.DataObject) -> None:
    ours = data.draw(annotations_of(task))
    theirs = data.draw(st.permutations(ours))

    found = matching(ours, theirs)

    assert len(found.pairs) == len(ours)
    assert all(ours[pair.predicted] == theirs[pair.right] for pair in found.pairs)


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_who_is_matched_to_what_does_not_depend_on_the_order(task: Task, data: st.DataObject) -> None:
    ours, theirs = data.draw(annotations_of(task)), data.draw(annotations_of(task))
    shuffled = data.draw(st.permutations(ours)), data.draw(st.permutations(theirs))

    assert _contents(matching(*shuffled), *shuffled) == _contents(matching(ours, theirs), ours, theirs)


def test_the_same_label_goes_before_the_larger_overlap() -> None:
    person, rider = a_box(0, "person", id="a"), a_box(1, "rider", id="b")
    answer = [a_box(1, "person", id="c"), a_box(0, "rider", id="d")]

    found = matching([person, rider], answer)

    assert {(pair.predicted, pair.right) for pair in found.pairs} == {(0, 0), (1, 1)}


def test_among_those_with_one_content_the_id_decides() -> None:
    ours = [a_box(0, id="x"), a_box(0, id="y")]

    found = matching(ours, [a_box(0, id="y"), a_box(0, id="x")])

    assert {(pair.predicted, pair.right) for pair in found.pairs} == {(0, 1), (1, 0)}


def test_a_word_is_not_taken_for_its_segment() -> None:
    segment, word = a_segment("one two three", 0, 3), replace(a_segment("one", 0, 1), label="word")

    assert matching([segment], [word]).pairs == ()


def test_below_the_background_nothing_is_matched() -> None:
    assert matching([a_box(0)], [a_box(8.5)]).pairs == ()  # an IoU of 0.08
    assert len(matching([a_box(0)], [a_box(8)]).pairs) == 1  # of 0.11


def test_one_character_in_common_is_enough_for_spans() -> None:
    assert len(matching([a_span(0, 50)], [a_span(49, 200, "place")]).pairs) == 1


def test_of_two_for_one_thing_the_better_is_matched() -> None:
    found = matching_at([a_box(1), a_box(0.5)], [a_box(0)], iou=0.5)

    assert [pair.predicted for pair in found.pairs] == [1]
    assert found.predicted_alone == (0,)


def test_a_label_of_another_class_is_no_match_where_labels_count() -> None:
    assert matching_at([a_box(0, "cat")], [a_box(0, "dog")], iou=0.5).pairs == ()


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (a_box(0), a_box(0.5), True),  # what rounding may do
        (a_box(0), a_box(0.6), False),
        (a_box(0), replace(a_box(0), score=1.0, id="other", attributes={"by": "hand"}), True),
        (a_box(0), a_box(0, "dog"), False),
        (a_mask((0, 10)), a_mask((0, 10)), True),
        (a_mask((0, 10)), a_mask((0, 11)), False),
        (a_segment("so"), a_segment("so", 0.01), True),
        (a_segment("so"), a_segment("So"), False),
        (replace(a_segment("so"), attributes={"language": "en"}), a_segment("so"), True),
        (
            replace(a_segment("so"), attributes={"language": "en"}),
            replace(a_segment("so"), attributes={"language": "de"}),
            False,
        ),
        (one(TextSpan(start=0, end=3), text="Ada"), one(TextSpan(start=0, end=3)), True),
        (
            one(Polygon(points_xy=((0, 0), (9, 0), (9, 9)))),
            one(Polygon(points_xy=((0, 0), (9, 0), (9, 9), (0, 9)))),
            False,
        ),
    ],
)
def test_what_is_the_same_is_label_place_and_text_but_for_rounding(a: Annotation, b: Annotation, same: bool) -> None:
    assert is_same(a, b) == same


def _contents(found: Matching, ours: Sequence[Annotation], theirs: Sequence[Annotation]) -> list[str]:
    pairs = [repr((ours[pair.predicted], theirs[pair.right])) for pair in found.pairs]
    return sorted(pairs + [repr(ours[n]) for n in found.predicted_alone] + [repr(theirs[n]) for n in found.right_alone])
