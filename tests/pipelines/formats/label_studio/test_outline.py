"""Tests that a mask's parts are drawn as polygons that keep their shape in far fewer points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.geometry import mask_iou
from models.rings import filled, trace
from pipelines.formats.label_studio.outline import outlines


def disc(radius: float, *, size: int = 128) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.hypot(y - size / 2, x - size / 2) < radius


@pytest.mark.parametrize(("radius", "iou"), [(5.0, 0.9), (20.0, 0.97), (60.0, 0.98)])
def test_a_disc_keeps_its_shape_in_a_fraction_of_its_corners(radius: float, iou: float) -> None:
    bitmap = disc(radius)

    (ring,) = outlines(bitmap)

    assert mask_iou(filled(ring, size_hw=bitmap.shape), bitmap) > iou
    assert len(ring) < len(trace(bitmap)[0]) / 2


def test_a_shape_that_is_cut_too_roughly_is_another() -> None:
    """The test above fails for every fourth corner of a disc's steps."""
    bitmap = disc(5.0)

    assert mask_iou(filled(trace(bitmap)[0][::16], size_hw=bitmap.shape), bitmap) < 0.9


def test_holes_and_specks_are_not_drawn_and_the_largest_comes_first() -> None:
    bitmap = np.zeros((60, 60), dtype=bool)
    bitmap[2:8, 2:8] = bitmap[20:50, 20:50] = bitmap[0, 59] = True
    bitmap[30:40, 30:40] = False

    large, small = outlines(bitmap)

    assert sorted(map(tuple, large.tolist())) == [(20.0, 20.0), (20.0, 50.0), (50.0, 20.0), (50.0, 50.0)]
    assert sorted(map(tuple, small.tolist())) == [(2.0, 2.0), (2.0, 8.0), (8.0, 2.0), (8.0, 8.0)]


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_whatever_has_a_pixel_has_an_outline_of_three_points_or_more(bitmap: np.ndarray) -> None:
    rings = outlines(bitmap)

    assert bool(rings) == bool(bitmap.any())
    assert all(len(ring) > 2 and np.ptp(ring, axis=0).all() for ring in rings)
