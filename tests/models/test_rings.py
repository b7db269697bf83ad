"""Tests that a bitmap's rings say exactly which pixels are true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from models.rings import filled, joined, trace

BITMAPS = arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def bitmap(*rows: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in row] for row in rows])


def signed_area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def by_pycocotools(ring: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    (rle,) = coco_mask.frPyObjects([ring.ravel().tolist()], *size_hw)
    return coco_mask.decode(rle).astype(bool)


def test_a_pixel_is_a_square_traced_clockwise() -> None:
    (ring,) = trace(bitmap("....", "..#."))

    assert ring.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]]
    assert signed_area(ring) == 1.0


def test_a_hole_has_a_ring_the_other_way_round() -> None:
    outer, hole = trace(bitmap("###", "#.#", "###"))

    assert (signed_area(outer), signed_area(hole)) == (9.0, -1.0)


@pytest.mark.parametrize("rows", [("#.", ".#"), (".#", "#.")])
def test_pixels_that_touch_at_a_corner_are_two_parts(rows: tuple[str, str]) -> None:
    assert [signed_area(ring) for ring in trace(bitmap(*rows))] == [1.0, 1.0]


def test_there_are_no_rings_around_nothing() -> None:
    assert trace(np.zeros((3, 4), dtype=bool)) == []
    assert trace(np.zeros((0, 0), dtype=bool)) == []


@given(BITMAPS)
def test_rings_turn_at_every_corner_and_enclose_as_many_pixels_as_there_are(pixels: np.ndarray) -> None:
    rings = trace(pixels)

    assert sum(map(signed_area, rings)) == pixels.sum()
    for ring in rings:
        sides = np.roll(ring, -1, axis=0) - ring
        assert (np.count_nonzero(sides, axis=1) == 1).all()
        assert (np.count_nonzero(sides[:, 0]), np.count_nonzero(sides[:, 1])) == (len(ring) // 2, len(ring) // 2)


@given(BITMAPS)
def test_joined_rings_fill_the_same_pixels_here_and_in_pycocotools(pixels: np.ndarray) -> None:
    pixels[0, 0] = True

    ring = joined(trace(pixels))

    assert np.array_equal(filled(ring, size_hw=(pixels.shape[0], pixels.shape[1])), pixels)
    assert np.array_equal(by_pycocotools(ring, (pixels.shape[0], pixels.shape[1])), pixels)


@given(BITMAPS)
def test_a_joined_ring_passes_every_corner_and_winds_as_the_rings_did(pixels: np.ndarray) -> None:
    pixels[0, 0] = True
    rings = trace(pixels)

    ring = joined(rings)

    assert {tuple(point) for point in ring.tolist()} == {tuple(point) for part in rings for point in part.tolist()}
    assert len(ring) == sum(map(len, rings)) + 2 * (len(rings) - 1)
    assert signed_area(ring) == pixels.sum()


def test_rings_are_joined_where_they_are_near() -> None:
    ring = joined(trace(bitmap("##......##")))

    longest = np.abs(np.roll(ring, -1, axis=0) - ring).max()
    assert longest == 6


def test_a_ring_is_cut_off_at_the_edges_of_the_image() -> None:
    pixels = filled(np.array([[-1e300, -5.0], [3.0, -5.0], [3.0, 2.0], [-1e300, 2.0]]), size_hw=(4, 6))

    assert pixels.tolist() == bitmap("###...", "###...", "......", "......").tolist()


@pytest.mark.parametrize("points", [[], [[1.0, 1.0]], [[0.0, 0.0], [5.0, 5.0]]])
def test_fewer_than_three_points_enclose_nothing(points: list[list[float]]) -> None:
    assert not filled(np.array(points), size_hw=(6, 6)).any()


def test_ten_thousand_parts_are_one_ring() -> None:
    pixels = np.zeros((200, 200), dtype=bool)
    pixels[::2, ::2] = True

    rings = trace(pixels)

    assert len(rings) == 10_000
    assert signed_area(joined(rings)) == 10_000


def test_a_bridge_that_is_gone_both_ways_flips_no_pixel_though_its_ends_were_rounded() -> None:
    bitmap, size_wh = np.ones((6, 8), dtype=bool), (8, 6)
    bitmap[[0, 2, 4], [1, 5, 4]] = False

    shares = np.array([[float(f"{value:.8g}") for value in point] for point in joined(trace(bitmap)) / size_wh])

    assert np.array_equal(filled(shares * size_wh, size_hw=(6, 8)), bitmap)
