"""Checks that polygons made from masks keep to the masks, with few points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.geometry import mask_iou
from models.rings import filled, trace
from serving.integrations.cvat.mask_code import decoded, encoded
from serving.integrations.cvat.polygon import polygon_of, simplified

BITMAPS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def a_disc(radius: float, *, hole: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:120, :160]
    distance = np.hypot(x - 80, y - 60)
    return (distance < radius) & (distance >= hole)


@pytest.mark.parametrize("bitmap", [a_disc(40), a_disc(40, hole=20), a_disc(5)])
def test_a_polygon_covers_its_mask_with_a_tenth_of_the_points(bitmap: np.ndarray) -> None:
    exact, ring = np.concatenate(trace(bitmap)), polygon_of(bitmap)

    assert ring is not None
    assert mask_iou(filled(ring, size_hw=bitmap.shape), bitmap) > 0.9  # pyright: ignore[reportArgumentType]
    assert len(ring) < max(len(exact) / 4, 12)


@given(bitmap=BITMAPS)
def test_every_mask_with_a_pixel_has_a_polygon_inside_the_image(bitmap: np.ndarray) -> None:
    ring = polygon_of(bitmap)

    if not bitmap.any():
        assert ring is None
        return
    assert ring is not None
    assert len(ring) > 2
    assert (ring >= 0).all()
    assert (ring <= bitmap.shape[::-1]).all()


@given(bitmap=BITMAPS, tolerance_px=st.floats(0.5, 3.0))
def test_no_point_that_is_dropped_was_farther_off_than_the_tolerance(bitmap: np.ndarray, tolerance_px: float) -> None:
    for ring in trace(bitmap):
        kept = simplified(ring, tolerance_px=tolerance_px)
        ends = np.roll(kept, -1, axis=0)
        for point in ring:
            assert min(_distance(point, *ends_) for ends_ in zip(kept, ends, strict=True)) <= tolerance_px + 1e-9


def _distance(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    way = (end - start).astype(float)
    length = way @ way
    along = np.clip((point - start) @ way / length, 0, 1) if length else 0.0
    return float(np.hypot(*(point - start - along * way)))


@given(bitmap=BITMAPS)
def test_a_masks_code_reads_back_as_its_pixels(bitmap: np.ndarray) -> None:
    points = encoded(bitmap)

    if points is None:
        assert not bitmap.any()
    else:
        assert np.array_equal(decoded(points, size_hw=bitmap.shape), bitmap)  # pyright: ignore[reportArgumentType]
