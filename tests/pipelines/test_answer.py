"""Tests that a human's answer is checked against what is possible, and only against that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.geometry import encode_mask, run_lengths
from models.types import Annotation, Box, Geometry, Mask, Polygon, Task, TextSpan, TimeSpan, WholeItem
from pipelines.answer import problems


def one(geometry: Geometry, *, label: str = "cat", score: float = 1.0) -> Annotation:
    return Annotation(id="0", label=label, geometry=geometry, score=score)


@pytest.mark.parametrize(
    ("task", "geometry"),
    [
        ("detection", Box(xyxy=(0, 0, 1, 1))),
        ("detection", WholeItem()),
        ("segmentation", Polygon(points_xy=((0, 0), (1, 0), (1, 1)))),
        ("segmentation", encode_mask(np.eye(7, dtype=bool))),
        ("ner", TextSpan(start=0, end=1)),
        ("speech", TimeSpan(start_s=1.5, end_s=1.5)),
    ],
)
def test_what_is_possible_passes(task: Task, geometry: Geometry) -> None:
    assert problems(task, [one(geometry)]) == []


@pytest.mark.parametrize(
    ("task", "annotation", "said"),
    [
        ("detection", one(Box(xyxy=(5, 0, 1, 9))), "reversed"),
        ("detection", one(Box(xyxy=(0, 0, float("inf"), 9))), "finite"),
        ("detection", one(TextSpan(start=0, end=1)), "wanted one of: whole_item, box"),
        ("detection", one(Box(xyxy=(0, 0, 1, 1)), label=" "), "label is empty"),
        ("detection", one(Box(xyxy=(0, 0, 1, 1)), score=-3), "score must lie in [0, 1]; got -3"),
        ("segmentation", one(Polygon(points_xy=((0, 0), (1, 1)))), "polygon"),
        ("segmentation", one(Mask(size_hw=(3, 3), counts="0:")), "mask"),
        ("segmentation", one(Mask(size_hw=(7, 8), counts=encode_mask(np.eye(7, dtype=bool)).counts)), "mask"),
        ("ner", one(TextSpan(start=9, end=-2)), "reversed"),
        ("speech", one(TimeSpan(start_s=-1, end_s=2)), "time_span"),
    ],
)
def test_what_is_impossible_is_named(task: Task, annotation: Annotation, said: str) -> None:
    [problem] = problems(task, [annotation])

    assert problem.startswith("annotation '0': ")
    assert said in problem


def test_two_annotations_need_two_ids() -> None:
    assert problems("ner", [one(TextSpan(start=0, end=1))] * 2) == ["annotation '0': more than one has this id"]


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_run_lengths_are_those_that_pycocotools_packed(bitmap: np.ndarray) -> None:
    flat = bitmap.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()

    assert run_lengths(encode_mask(bitmap).counts) == ([0, *lengths] if flat[0] else lengths)


@given(st.text(max_size=30))
def test_any_text_as_counts_gives_lengths_or_nothing(counts: str) -> None:
    lengths = run_lengths(counts)

    assert lengths is None or all(length >= 0 for length in lengths)
