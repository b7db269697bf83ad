"""Tests that the overlap of annotations is what it is by hand, for each kind of geometry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.geometry import iou
from models.types import Annotation, Box, Geometry, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.corrections.overlap import coverage, extents, overlapping
from tests.pipelines.corrections.builders import a_rectangle, one

A_SQUARE = Polygon(points_xy=((0, 0), (10, 0), (10, 20), (0, 20)))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (Box(xyxy=(0, 0, 10, 10)), Box(xyxy=(5, 0, 15, 10)), 1 / 3),
        (TextSpan(start=0, end=4), TextSpan(start=2, end=5), 2 / 5),
        (TimeSpan(start_s=0.0, end_s=2.0), TimeSpan(start_s=1.0, end_s=2.0), 1 / 2),
        (TimeSpan(start_s=1.5, end_s=1.5), TimeSpan(start_s=1.5, end_s=1.5), 1.0),
        (WholeItem(), WholeItem(), 1.0),
        (a_rectangle((0, 20)), a_rectangle((10, 30)), 1 / 3),
        (a_rectangle((0, 10)), A_SQUARE, 1.0),
        (A_SQUARE, Polygon(points_xy=((0, 0), (10, 0), (10, 10), (0, 10))), 1 / 2),
        (TextSpan(start=0, end=10**30), TextSpan(start=0, end=10**30), 1.0),
    ],
)
def test_two_of_a_kind_overlap_as_by_hand(a: Geometry, b: Geometry, expected: float) -> None:
    [pair] = overlapping([one(a)], [one(b)], min_iou=0.0)

    assert pair.iou == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Box(xyxy=(0, 0, 10, 10)), Box(xyxy=(10, 0, 20, 10))),
        (TextSpan(start=0, end=4), TextSpan(start=4, end=5)),
        (Box(xyxy=(0, 0, 1, 1)), WholeItem()),
        (a_rectangle((0, 10)), Box(xyxy=(0, 0, 10, 20))),
        (a_rectangle((0, 10)), a_rectangle((10, 20))),
    ],
)
def test_those_that_only_touch_or_are_of_two_kinds_do_not_overlap(a: Geometry, b: Geometry) -> None:
    assert list(overlapping([one(a)], [one(b)], min_iou=0.0)) == []


def test_a_polygon_that_lies_nowhere_costs_nothing_and_overlaps_nothing() -> None:
    far = Polygon(points_xy=((1e300, 1e300), (2e300, 1e300), (2e300, 2e300)))

    assert list(overlapping([one(A_SQUARE)], [one(far)], min_iou=0.0)) == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.integers(1, 50), st.floats(0.0, 0.9))
def test_boxes_taken_some_at_a_time_give_what_the_whole_matrix_gives(seed: int, n: int, m: int, min_iou: float) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = _boxes(rng, n), _boxes(rng, m)
    matrix = iou(np.array([_xyxy(a) for a in ours]), np.array([_xyxy(a) for a in theirs]))

    found = {(pair.predicted, pair.right): pair.iou for pair in overlapping(ours, theirs, min_iou=min_iou)}

    rows, columns = np.nonzero((matrix >= min_iou) & (matrix > 0))
    assert found == {(i, j): matrix[i, j] for i, j in zip(rows.tolist(), columns.tolist(), strict=True)}


def test_a_heap_that_would_fill_the_memory_is_refused() -> None:
    heap = [one(Box(xyxy=(0, 0, 1, 1)))] * 1_001

    with pytest.raises(ValueError, match="lie in a heap"):
        list(overlapping(heap, heap, min_iou=0.0))


def test_words_of_hours_are_compared_in_moments() -> None:
    words = [one(TimeSpan(start_s=n / 2, end_s=n / 2 + 0.5)) for n in range(20_000)]

    assert len(list(overlapping(words, words, min_iou=0.0))) == 20_000


def test_extents_are_the_tight_boxes() -> None:
    boxes = extents([a_rectangle((5, 15), (2, 12)), A_SQUARE])

    assert boxes.tolist() == [[5, 2, 15, 12], [0, 0, 10, 20]]


def test_coverage_is_the_share_of_each_that_lies_in_the_other() -> None:
    shares = coverage([a_rectangle((0, 10)), a_rectangle((5, 25))], [a_rectangle((0, 20))])

    assert shares.tolist() == [[1.0], [0.75]]


def _boxes(rng: np.random.Generator, n: int) -> list[Annotation]:
    corners = rng.uniform(0, 1000, (n, 2))
    return [
        one(Box(xyxy=(x, y, x + w, y + h))) for (x, y), (w, h) in zip(corners, rng.uniform(1, 99, (n, 2)), strict=True)
    ]


def _xyxy(annotation: Annotation) -> tuple[float, float, float, float]:
    assert isinstance(annotation.geometry, Box)
    return annotation.geometry.xyxy
