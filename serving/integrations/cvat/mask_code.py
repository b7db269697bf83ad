"""Writes and reads masks as CVAT's shapes have them: run lengths of the mask's box, and the box.

Source: cvat_sdk/masks.py, encode_mask. The runs go row by row and begin with zeros; the box's last two numbers are its
last column and row, not those behind them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.geometry import mask_box


def encoded(bitmap: np.ndarray) -> list[float] | None:
    """An (H, W) bool bitmap as a shape's points; None where no pixel is true."""
    box = mask_box(bitmap)
    if box is None:
        return None
    left, top, right, bottom = map(int, box)
    pixels = bitmap[top:bottom, left:right].ravel()
    starts = np.flatnonzero(np.diff(pixels, prepend=False))  # of the runs but the first, which is of zeros
    runs = np.diff(starts, prepend=0, append=pixels.size).tolist()
    return [float(number) for number in (*runs, left, top, right - 1, bottom - 1)]


def decoded(points: Sequence[float], *, size_hw: tuple[int, int]) -> np.ndarray:
    """The (H, W) bool bitmap that a shape's points stand for; they must come from ``encoded``."""
    *runs, left, top, right, bottom = map(int, points)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    bitmap = np.zeros(size_hw, dtype=bool)
    bitmap[top : bottom + 1, left : right + 1] = inside.reshape(bottom + 1 - top, right + 1 - left)
    return bitmap
