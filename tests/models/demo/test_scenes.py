"""Checks the drawn scenes: the same for a seed, true to their labels, and different for each part."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from models.demo.scenes import HELD_OUT_SEEDS, LABELS, TRAIN_SEEDS, VALIDATION_SEEDS, Part, scene
from models.geometry import mask_box

PARTS = get_args(Part)


@pytest.mark.parametrize("part", PARTS)
def test_a_seed_always_draws_the_same_scene(part: Part) -> None:
    first, second = scene(7, part), scene(7, part)

    np.testing.assert_array_equal(first.image_rgb, second.image_rgb)
    np.testing.assert_array_equal(first.masks, second.masks)
    assert first.labels == second.labels


@pytest.mark.parametrize("part", PARTS)
def test_boxes_are_tight_around_masks_that_do_not_overlap(part: Part) -> None:
    for seed in HELD_OUT_SEEDS[:8]:
        drawn = scene(seed, part)

        assert drawn.masks.shape == (len(drawn.labels), *drawn.image_rgb.shape[:2])
        assert [mask_box(mask) for mask in drawn.masks] == [tuple(box) for box in drawn.boxes_xyxy.tolist()]
        assert drawn.masks.sum(axis=0).max(initial=0) <= 1


def test_seeds_for_training_validation_and_measuring_are_apart() -> None:
    assert TRAIN_SEEDS.stop <= VALIDATION_SEEDS.start
    assert VALIDATION_SEEDS.stop <= HELD_OUT_SEEDS.start


def test_only_scenes_out_of_domain_hold_unknown_shapes() -> None:
    labels = {part: {label for seed in HELD_OUT_SEEDS[:20] for label in scene(seed, part).labels} for part in PARTS}

    assert labels["easy"] <= set(LABELS)
    assert labels["hard"] <= set(LABELS)
    assert labels["out_of_domain"] - set(LABELS)


def test_some_scenes_are_empty() -> None:
    assert any(not scene(seed, "easy").labels for seed in HELD_OUT_SEEDS[:200])
