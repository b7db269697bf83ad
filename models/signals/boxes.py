"""Reads uncertainty off a detector's scores."""

from __future__ import annotations

import numpy as np

from models.signals.distributions import binary_entropy, margin, softmin


def no_miss(scores_below: np.ndarray) -> float:
    """How sure the detector is that it left nothing out: 1 − max score of the boxes that were not emitted.

    Args:
        scores_below: (n,) scores in [0, 1] of the candidates below the emission threshold.

    Returns:
        In [0, 1]; higher is safer; 1.0 when there is no candidate at all.
    """
    return 1.0 - float(scores_below.max(initial=0.0))


def detection(class_scores: np.ndarray, *, is_emitted: np.ndarray) -> dict[str, float]:
    """The item-level signals of a detector.

    Args:
        class_scores: (n, K) sigmoid scores of all candidates (queries or proposals).
        is_emitted: (n,) bool, the candidates that became annotations.

    Returns:
        no_miss (0..1, higher is safer), and only with boxes: min_score and softmin_score (0..1, higher is safer; the
        second sees that several boxes are weak), entropy_max, entropy_mean (bits, 0..1, lower is safer), entropy_sum
        (bits, ≥ 0, lower is safer; it grows with the number of boxes: Yang et al. 2024, PPAL), margin_max (0..1, lower
        is safer; needs K ≥ 2).
    """
    best = class_scores.max(axis=1) if class_scores.size else np.zeros(len(class_scores))
    signals = {"no_miss": no_miss(best[~is_emitted])}
    emitted = class_scores[is_emitted]
    if emitted.size:
        entropies = binary_entropy(best[is_emitted])
        signals |= {
            "min_score": float(best[is_emitted].min()),
            "softmin_score": softmin(best[is_emitted]),
            "entropy_max": float(entropies.max()),
            "entropy_mean": float(entropies.mean()),
            "entropy_sum": float(entropies.sum()),
        }
        if emitted.shape[1] > 1:
            signals["margin_max"] = float(margin(emitted).max())
    return signals
