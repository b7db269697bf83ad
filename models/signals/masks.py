"""Reads uncertainty off a segmenter's mask logits; models/outlines.py computes the first two on the device."""

from __future__ import annotations

import numpy as np


def stability(logits: np.ndarray, *, threshold: float = 0.0, offset: float = 1.0) -> np.ndarray:
    """How little a mask changes when its threshold moves: |{l > t + Δ}| / |{l > t − Δ}|.

    Args:
        logits: (n, H, W) mask logits.

    Returns:
        (n,) in [0, 1]; higher is safer; 0 for a mask that is empty at both thresholds.
        segment-anything, utils/amg.py, calculate_stability_score (Kirillov et al. 2023, appendix B).
    """
    inner = (logits > threshold + offset).sum(axis=(1, 2), dtype=np.int64)
    outer = (logits > threshold - offset).sum(axis=(1, 2), dtype=np.int64)
    return np.divide(inner, outer, out=np.zeros(len(logits)), where=outer > 0)


def soft_iou(logits: np.ndarray, *, threshold: float = 0.0) -> np.ndarray:
    """The IoU that the mask's own pixel probabilities predict: Σ_M p / (|M| + Σ_¬M p), M = {l > t}.

    Args:
        logits: (n, H, W) mask logits.

    Returns:
        (n,) in [0, 1]; higher is safer; 0 for an empty mask. The ratio of the expected intersection to the expected
        union with a truth whose pixels are independent and have these probabilities.
    """
    p = 1.0 / (1.0 + np.exp(-logits.astype(np.float64).clip(-50.0, 50.0)))
    inside = logits > threshold
    expected_intersection = np.where(inside, p, 0.0).sum(axis=(1, 2))
    expected_union = inside.sum(axis=(1, 2)) + np.where(inside, 0.0, p).sum(axis=(1, 2))
    return np.where(inside.any(axis=(1, 2)), expected_intersection / np.maximum(expected_union, 1e-12), 0.0)


def segmentation(predicted_ious: np.ndarray, *, stabilities: np.ndarray, soft_ious: np.ndarray) -> dict[str, float]:
    """The image-level signals of a segmenter: the worst mask's, empty and held-back masks included.

    Args:
        predicted_ious: (n,) what the network's own head says of each mask; it may leave [0, 1].
        stabilities, soft_ious: (n,) in [0, 1], see above.

    Returns:
        Nothing without masks; else min_score = predicted_iou_min clipped to [0, 1], stability_min, soft_iou_min (0..1)
        and predicted_iou_min as the head gave it (no bounds); higher is safer for all.
    """
    if not len(predicted_ious):
        return {}
    lowest = float(predicted_ious.min())
    return {
        "min_score": min(max(lowest, 0.0), 1.0),
        "predicted_iou_min": lowest,
        "stability_min": float(stabilities.min()),
        "soft_iou_min": float(soft_ious.min()),
    }
