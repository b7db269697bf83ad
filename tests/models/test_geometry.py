"""Checks boxes and masks by properties that must hold for all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from models import geometry

bitmaps = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
corners = hnp.arrays(np.float64, (4, 4), elements=st.floats(0, 100))


def boxes(points: np.ndarray) -> np.ndarray:
    return np.concatenate([np.minimum(points[:, :2], points[:, 2:]), np.maximum(points[:, :2], points[:, 2:])], axis=1)


@given(bitmaps)
def test_a_mask_survives_its_encoding(bitmap: np.ndarray) -> None:
    mask = geometry.encode_mask(bitmap)

    assert mask.size_hw == bitmap.shape
    assert (geometry.decode_mask(mask) == bitmap).all()


@given(bitmaps, st.integers(1, 40))
def test_masks_of_short_and_of_long_runs_have_the_counts_of_pycocotools(bitmap: np.ndarray, times: int) -> None:
    larger = bitmap.repeat(times, axis=0).repeat(times, axis=1)

    mask = geometry.encode_mask(larger)

    expected = coco_mask.encode(np.asfortranarray(larger, dtype=np.uint8))
    assert mask.counts.encode() == expected["counts"]


@given(corners, corners)
def test_overlap_is_symmetric_and_between_zero_and_one(a: np.ndarray, b: np.ndarray) -> None:
    overlap = geometry.iou(boxes(a), boxes(b))

    assert ((overlap >= 0) & (overlap <= 1 + 1e-9)).all()
    assert overlap == pytest.approx(geometry.iou(boxes(b), boxes(a)).T)


def test_overlap_of_two_known_boxes() -> None:
    a = np.array([[0.0, 0.0, 2.0, 2.0]])
    b = np.array([[1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 6.0, 6.0], [0.0, 0.0, 2.0, 2.0]])

    assert geometry.iou(a, b) == pytest.approx(np.array([[1 / 7, 0.0, 1.0]]))


@given(corners)
def test_clipped_boxes_lie_in_the_image(points: np.ndarray) -> None:
    clipped = geometry.clip_boxes(boxes(points), size_hw=(30, 50))

    assert (clipped[:, [0, 2]] <= 50).all()
    assert (clipped[:, [1, 3]] <= 30).all()


@given(bitmaps)
def test_the_box_of_a_mask_holds_all_of_it_and_nothing_can_be_cut_off(bitmap: np.ndarray) -> None:
    box = geometry.mask_box(bitmap)

    if box is None:
        assert not bitmap.any()
        return
    x1, y1, x2, y2 = map(int, box)
    assert bitmap[y1:y2, x1:x2].sum() == bitmap.sum()
    assert bitmap[y1].any()
    assert bitmap[y2 - 1].any()
    assert bitmap[:, x1].any()
    assert bitmap[:, x2 - 1].any()


def test_two_empty_masks_are_alike() -> None:
    empty = np.zeros((3, 3), bool)

    assert geometry.mask_iou(empty, empty) == 1.0
    assert geometry.mask_iou(empty, ~empty) == 0.0


@given(hnp.arrays(np.bool_, (3, 7, 5)), hnp.arrays(np.bool_, (2, 7, 5)))
def test_encoded_masks_overlap_as_their_bitmaps_do(some: np.ndarray, others: np.ndarray) -> None:
    found = geometry.mask_ious(
        [geometry.encode_mask(own) for own in some], [geometry.encode_mask(own) for own in others]
    )

    expected = [[geometry.mask_iou(a, b) if (a | b).any() else 0.0 for b in others] for a in some]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_masks_of_other_sizes_and_no_masks_overlap_with_nothing() -> None:
    one, other = geometry.encode_mask(np.ones((3, 4), bool)), geometry.encode_mask(np.ones((4, 3), bool))

    assert geometry.mask_ious([one], [other]).tolist() == [[0.0]]
    assert geometry.mask_ious([], [one]).shape == (0, 1)
    assert geometry.mask_ious([one], []).shape == (1, 0)
