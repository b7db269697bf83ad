"""Scores probabilities of a yes or no against what happened; lower is better."""

from __future__ import annotations

import numpy as np


def log_losses(probabilities: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """−log of the probability given to what happened, in nats: (n,), each ≥ 0. Good 1952.

    Probabilities are clipped to [10⁻¹⁵, 1 − 10⁻¹⁵], so that one mistake that was called impossible stays finite.
    """
    p = np.clip(probabilities, 1e-15, 1.0 - 1e-15)
    return -np.log(np.where(is_right, p, 1.0 - p))


def log_loss(probabilities: np.ndarray, is_right: np.ndarray, *, weights: np.ndarray | None = None) -> float:
    """Mean of ``log_losses``; ≥ 0, log 2 for "half" throughout."""
    return float(np.average(log_losses(probabilities, is_right), weights=weights))


def brier(probabilities: np.ndarray, is_right: np.ndarray, *, weights: np.ndarray | None = None) -> float:
    """Mean of (p − y)²; in [0, 1], ¼ for "half" throughout. Brier 1950."""
    return float(np.average(np.square(probabilities - is_right), weights=weights))
