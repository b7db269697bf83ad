"""Tests each type of error on a case that was computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.types import Annotation, Task, WholeItem
from pipelines.corrections.acceptable import ACCEPTABLE
from pipelines.corrections.errors import errors
from pipelines.corrections.matching import matching
from tests.pipelines.corrections.builders import a_box, a_mask, a_segment, a_span, one


def in_language(text: str, language: str) -> Annotation:
    return replace(a_segment(text), attributes={"language": language})


@pytest.mark.parametrize(
    ("task", "predicted", "right", "expected"),
    [
        ("detection", [a_box(0)], [a_box(0)], {}),
        ("detection", [a_box(0)], [a_box(2)], {}),  # an IoU of 8/12 is right enough
        ("detection", [], [a_box(0), a_box(50)], {"missed": 2}),
        ("detection", [a_box(0)], [], {"spurious": 1}),
        ("detection", [a_box(0)], [a_box(9.5)], {"missed": 1, "spurious": 1}),
        ("detection", [a_box(0)], [a_box(2, "dog")], {"class": 1}),
        ("detection", [a_box(0)], [a_box(6)], {"location": 1}),  # 4/16
        ("detection", [a_box(0)], [a_box(6, "dog")], {"class_and_location": 1}),
        ("detection", [a_box(0), a_box(1)], [a_box(0)], {"duplicate": 1}),
        ("detection", [a_box(0), a_box(1, "dog")], [a_box(0)], {"spurious": 1}),  # no duplicate: it is no dog
        ("detection", [one(WholeItem(), "indoor")], [one(WholeItem(), "outdoor")], {"class": 1}),
        ("segmentation", [a_mask((0, 20))], [a_mask((0, 21))], {}),
        ("segmentation", [a_mask((0, 20))], [a_mask((0, 30))], {"boundary": 1}),
        ("segmentation", [a_mask((0, 20))], [a_mask((0, 20), "dog")], {"class": 1}),
        ("segmentation", [a_mask((0, 20))], [a_mask((0, 30), "dog")], {"class": 1, "boundary": 1}),
        ("segmentation", [a_mask((0, 20))], [], {"spurious": 1}),
        ("segmentation", [], [a_mask((0, 20))], {"missed": 1}),
        ("segmentation", [a_mask((0, 30))], [a_mask((0, 15)), a_mask((15, 30))], {"boundary": 1, "merge": 1}),
        ("segmentation", [a_mask((0, 30))], [a_mask((0, 15)), a_mask((15, 30), "dog")], {"missed": 1, "boundary": 1}),
        ("segmentation", [a_mask((0, 15)), a_mask((15, 30))], [a_mask((0, 30))], {"boundary": 1, "split": 1}),
        ("segmentation", [a_mask((0, 30)), a_mask((0, 29))], [a_mask((0, 30))], {"spurious": 1}),  # laid over the first
        ("segmentation", [a_box(0, side=20), a_mask((0, 20))], [a_mask((0, 20))], {}),
        ("segmentation", [a_box(0), a_box(1)], [a_box(6, "dog")], {"spurious": 1, "class": 1, "boundary": 1}),
        ("ner", [a_span(0, 5)], [a_span(0, 5)], {}),
        ("ner", [a_span(0, 5)], [a_span(0, 5, "place")], {"type": 1}),
        ("ner", [a_span(0, 5)], [a_span(0, 9)], {"boundary": 1}),
        ("ner", [a_span(0, 5)], [a_span(4, 9, "place")], {"type_and_boundary": 1}),
        ("ner", [a_span(0, 5)], [a_span(5, 9)], {"missed": 1, "spurious": 1}),
        ("speech", [a_segment("a b c")], [a_segment("a x c")], {"substitution": 1}),
        ("speech", [a_segment("a c")], [a_segment("a b c")], {"deletion": 1}),
        ("speech", [a_segment("a b c")], [a_segment("a c")], {"insertion": 1}),
        ("speech", [a_segment("a so so so so b")], [a_segment("a b")], {"hallucination": 4}),
        ("speech", [a_segment("thanks for your attention")], [], {"hallucination": 4}),
        ("speech", [in_language("da", "de")], [in_language("da", "da")], {"language": 1}),
        ("speech", [a_segment("Ada, no")], [a_segment("ada no")], {"punctuation": 1}),
    ],
)
def test_an_error_has_its_type(
    task: Task, predicted: list[Annotation], right: list[Annotation], expected: dict[str, int]
) -> None:
    assert errors(task, predicted, right, matching(predicted, right), ACCEPTABLE[task]) == expected
