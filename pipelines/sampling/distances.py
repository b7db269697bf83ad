"""Measures how far items are from each other, a bounded part of them at a time."""

from __future__ import annotations

import numpy as np

_MOST_NUMBERS = 2**22  # of a chunk's rows: 32 MiB in float64


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How far each of ``points`` (m, d) is from the nearest of ``others`` (k, d), both float64: (m,) float64.

    Infinite where there are no others. The nearest is found by |a|² + |b|² - 2ab, which loses the low digits of small
    distances, so the distance to it is then taken from the difference.
    """
    if not len(others) or not len(points):
        return np.full(len(points), np.inf)
    from sklearn.metrics import pairwise_distances_argmin

    found = np.empty(len(points))
    rows = max(_MOST_NUMBERS // points.shape[1], 1)
    for start in range(0, len(points), rows):
        part = points[start : start + rows]
        closest = others[pairwise_distances_argmin(part, others)]
        found[start : start + rows] = np.linalg.norm(part - closest, axis=1)
    return found


def to_one(points: np.ndarray, one: np.ndarray) -> np.ndarray:
    """How far each of ``points`` (m, d) is from ``one`` (d,): (m,) float64."""
    found = np.empty(len(points))
    rows = max(_MOST_NUMBERS // points.shape[1], 1)
    for start in range(0, len(points), rows):
        difference = points[start : start + rows] - one
        found[start : start + rows] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return found
