"""Turns mask logits into run lengths and judges them, on whatever device they lie.

Only run lengths and a few numbers for each mask leave the device: a photo's masks at full size may not even fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

_PIXELS_AT_ONCE = 1 << 25  # (n, H, W) float32 logits of this size take 128 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One mask as the lengths of its runs, column by column, zeros first, and how sure its logits are of it."""

    run_lengths: np.ndarray
    stability: float
    soft_iou: float

    @property
    def is_empty(self) -> bool:
        return len(self.run_lengths) < 2


def stability(logits: torch.Tensor, *, threshold: float = 0.0, offset: float = 1.0) -> torch.Tensor:
    """(n, h, w) → (n,) float64; see ``models.signals.stability``, which computes the same with numpy."""
    inner = (logits > threshold + offset).flatten(1).sum(dim=1)
    outer = (logits > threshold - offset).flatten(1).sum(dim=1)
    return torch.where(outer > 0, inner.double() / outer.clamp(min=1), 0.0)


def soft_iou(logits: torch.Tensor, *, threshold: float = 0.0) -> torch.Tensor:
    """(n, h, w) → (n,) float64; see ``models.signals.soft_iou``, which computes the same with numpy."""
    p = logits.double().clamp(-50.0, 50.0).sigmoid()
    inside = logits > threshold
    expected_intersection = (p * inside).flatten(1).sum(dim=1)
    expected_union = (p * ~inside + inside).flatten(1).sum(dim=1)
    is_any = inside.flatten(1).any(dim=1)
    return torch.where(is_any, expected_intersection / expected_union.clamp(min=1e-12), 0.0)


def run_lengths(logits: torch.Tensor, *, side_px: int, content_hw: tuple[int, int], size_hw: tuple[int, int]) -> list:
    """The runs of each mask at the image's size, as segment_anything brings masks there.

    Args:
        logits: (n, s, s) float32 of the padded square.
        side_px: the square's side in pixels of the network's input.
        content_hw: the part of it that the image takes up.
        size_hw: the image's own size.

    Returns:
        For each mask an int64 array: the lengths of its runs, column by column, zeros first.
    """
    at_once = max(_PIXELS_AT_ONCE // max(size_hw[0] * size_hw[1], side_px**2), 1)
    runs = list[np.ndarray]()
    for chunk in logits.split(at_once):
        square = functional.interpolate(chunk[:, None], (side_px, side_px), mode="bilinear", align_corners=False)
        content = square[..., : content_hw[0], : content_hw[1]]
        full = functional.interpolate(content, size_hw, mode="bilinear", align_corners=False)
        runs += runs_of(full[:, 0] > 0.0)
    return runs


def runs_of(bitmaps: torch.Tensor) -> list[np.ndarray]:
    """The lengths of the runs of (n, H, W) bool bitmaps, column by column, zeros first."""
    columns = bitmaps.transpose(1, 2).flatten(1)  # (n, W * H)
    masks, ends = (columns[:, 1:] != columns[:, :-1]).nonzero(as_tuple=True)
    changes, bounds = (ends + 1).cpu().numpy(), torch.bincount(masks, minlength=len(columns)).cumsum(0).cpu().numpy()
    begins_inside = columns[:, 0].cpu().numpy()
    split = np.split(changes, bounds[:-1])
    return [_lengths(own, bool(begins), columns.shape[1]) for own, begins in zip(split, begins_inside, strict=True)]


def _lengths(changes: np.ndarray, begins_inside: bool, count: int) -> np.ndarray:
    starts = np.concatenate([[0, 0] if begins_inside else [0], changes, [count]])
    return np.diff(starts)


def outlines(
    logits: torch.Tensor, *, side_px: int, content_hw: tuple[int, int], size_hw: tuple[int, int], shown: torch.Tensor
) -> Sequence[Outline]:
    """Outlines of (n, s, s) logits; ``shown`` is the part of them that lies on the image, (n, h, w), and is judged."""
    if not len(logits):
        return ()
    judged = torch.stack([stability(shown), soft_iou(shown)], dim=1).cpu().tolist()
    runs = run_lengths(logits, side_px=side_px, content_hw=content_hw, size_hw=size_hw)
    rows = zip(runs, judged, strict=True)
    return tuple(Outline(run_lengths=own, stability=stable, soft_iou=soft) for own, (stable, soft) in rows)
