"""Checks what is read off mask logits: by hand, in its range, and against the true IoU of drawn blobs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import signals
from models.geometry import mask_iou

SIDE_PX = 96
logits = hnp.arrays(np.float32, (2, 5, 7), elements=st.floats(-30, 30, width=32))


def test_stability_is_the_ratio_of_the_tight_to_the_loose_mask() -> None:
    mask = np.full((1, 4, 4), -5.0)
    mask[0, 1:3, 1:3] = 5.0  # 4 pixels in both
    mask[0, 0, :] = 0.0  # 4 pixels in the loose one only

    assert signals.stability(mask) == pytest.approx([0.5])
    assert signals.stability(np.full((1, 4, 4), -5.0)) == pytest.approx([0.0])


@given(logits)
def test_mask_scores_lie_in_their_range(mask_logits: np.ndarray) -> None:
    for values in (signals.stability(mask_logits), signals.soft_iou(mask_logits)):
        assert ((values >= 0) & (values <= 1)).all()


def test_a_confident_mask_has_a_soft_iou_near_one() -> None:
    mask = np.full((1, 4, 4), -20.0)
    mask[0, :2] = 20.0

    assert signals.soft_iou(mask) == pytest.approx([1.0], abs=1e-6)


def test_a_soft_iou_is_the_value_worked_out_by_hand() -> None:
    mask = np.log(np.array([[[3.0, 3.0], [1.0 / 3.0, 1.0 / 3.0]]]))  # probabilities 3/4 inside, 1/4 outside

    assert signals.soft_iou(mask) == pytest.approx([(2 * 0.75) / (2 + 2 * 0.25)])


def test_an_empty_mask_divides_nothing_by_zero() -> None:
    empty, no_pixels = np.full((1, 3, 3), -np.inf), np.zeros((1, 0, 0))

    for mask in (empty, no_pixels):
        assert signals.stability(mask).tolist() == [0.0]
        assert signals.soft_iou(mask).tolist() == [0.0]
    nothing = np.zeros(0)
    assert signals.segmentation(nothing, stabilities=nothing, soft_ious=nothing) == {}


def test_an_image_is_judged_by_its_worst_mask_and_keeps_the_head_s_own_number() -> None:
    read = signals.segmentation(
        np.array([1.07, -0.02]), stabilities=np.array([0.9, 0.4]), soft_ious=np.array([0.8, 0.85])
    )

    assert read == {"min_score": 0.0, "predicted_iou_min": -0.02, "stability_min": 0.4, "soft_iou_min": 0.8}
    above = signals.segmentation(np.array([1.07]), stabilities=np.ones(1), soft_ious=np.ones(1))
    assert (above["min_score"], above["predicted_iou_min"]) == (1.0, 1.07)


def a_blob(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A wobbly disc of any size, and the logits of a segmenter that sees its edge more or less sharply."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] - SIDE_PX / 2
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    radius = np.exp(rng.uniform(np.log(5.0), np.log(40.0))) * (
        1.0 + 0.15 * np.sin(rng.integers(2, 6) * angle + rng.uniform(0.0, 6.0))
    )
    inside_px = radius - distance  # > 0 on the object
    blur_px = np.exp(rng.uniform(np.log(0.5), np.log(4.0)))
    error_px = blur_px * _smooth(rng)  # where it is unsure of the edge by some pixels, it is off by as many
    return inside_px > 0.0, (inside_px + error_px) / blur_px


def _smooth(rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance that changes over some ten pixels."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=(SIDE_PX, SIDE_PX)), 5.0)
    return noise / noise.std()


def boundary_certainty(blob_logits: np.ndarray) -> float:
    """1 − mean entropy within three pixels of the mask's edge: the score that shall lose."""
    from scipy.ndimage import binary_dilation, binary_erosion

    mask = blob_logits > 0.0
    band = np.asarray(binary_dilation(mask, iterations=3)) != np.asarray(binary_erosion(mask, iterations=3))
    p = 1.0 / (1.0 + np.exp(-blob_logits[band].clip(-50.0, 50.0)))
    return 1.0 - float(signals.binary_entropy(p).mean())


@pytest.mark.parametrize("count", [150, pytest.param(1500, marks=pytest.mark.statistics)])
def test_stability_and_soft_iou_rank_masks_as_their_true_iou_does_and_the_edge_s_entropy_less_so(count: int) -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(11)
    blobs = [a_blob(rng) for _ in range(count)]
    blobs = [(truth, own) for truth, own in blobs if (own > 0.0).any()]
    true_iou = [mask_iou(truth, own > 0.0) for truth, own in blobs]

    def correlation(scores: list[float]) -> float:
        return float(spearmanr(scores, true_iou)[0])  # pyright: ignore[reportArgumentType]

    stable = correlation([float(signals.stability(own[None])[0]) for _, own in blobs])
    soft = correlation([float(signals.soft_iou(own[None])[0]) for _, own in blobs])
    edge = correlation([boundary_certainty(own) for _, own in blobs])
    assert stable >= 0.85
    assert soft >= 0.85
    assert edge < 0.85  # it cannot tell a pixel's doubt about a small object from one about a large one
