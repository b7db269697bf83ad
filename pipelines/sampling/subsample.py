"""Bounds how many items the strategies look at that compare all with all."""

from __future__ import annotations

import numpy as np

_FOR_EACH, _AT_LEAST, _AT_MOST = 50, 20_000, 50_000


def subsample(indices: np.ndarray, *, budget: int, rng: np.random.Generator) -> np.ndarray:
    """All of the indices, or 50 for each item of the budget (20,000 to 50,000) drawn uniformly; ascending."""
    most = min(max(_FOR_EACH * budget, _AT_LEAST), _AT_MOST)
    if len(indices) <= most:
        return indices
    return np.sort(rng.choice(indices, size=most, replace=False, shuffle=False))
