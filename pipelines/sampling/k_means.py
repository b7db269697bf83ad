"""Finds clusters of items by weighted k-means."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

_ITERATIONS, _LARGE_ITERATIONS = 50, 5


def clusters_of(
    points: np.ndarray, weights: np.ndarray, *, count: int, is_large: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each of (m, d) points with (m,) weights above 0, and the (count, d) centres.

    Args:
        count: of clusters, at most m. Equal points may leave some of them empty.
        is_large: whether k-means sees the points in small batches (Sculley 2010), five times over.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    seed = int(rng.integers(2**31))
    settings: dict[str, Any] = {"n_clusters": count, "n_init": 1, "random_state": seed}
    means = (
        MiniBatchKMeans(**settings, batch_size=max(4_096, 2 * count), max_iter=_LARGE_ITERATIONS)
        if is_large
        else KMeans(**settings, max_iter=_ITERATIONS)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of clusters that are left empty
        labels = means.fit_predict(points, sample_weight=weights)
    return np.asarray(labels), np.asarray(means.cluster_centers_)
