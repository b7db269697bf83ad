"""Measures how much several answers to one question differ, be they of several models or of passes with dropout."""

from __future__ import annotations

import math

import numpy as np


def mutual_information(members: np.ndarray) -> np.ndarray:
    """What the members' disagreement adds to their common doubt: (H(p̄) − mean H(p_c)) / log K.

    Args:
        members: (C, …, K) one distribution of each of C ≥ 1 members, K ≥ 2.

    Returns:
        (…,) in [0, 1]; lower is safer; 0 where all say the same, however unsure they are. BALD: Houlsby et al. 2011;
        with dropout Gal et al. 2017; here over its bound log K.
    """
    p = members.astype(np.float64)
    gained = _entropy(p.mean(axis=0)) - _entropy(p).mean(axis=0)
    return np.clip(gained / math.log(p.shape[-1]), 0.0, 1.0)


def variation_ratio(members: np.ndarray) -> np.ndarray:
    """The share of members whose likeliest class is not the one that most have: 1 − f / C.

    Args:
        members: (C, …, K) one distribution of each of C ≥ 1 members.

    Returns:
        (…,) in [0, 1 − 1/C]; lower is safer; 0 where all choose the same. Freeman 1965.
    """
    votes = np.eye(members.shape[-1], dtype=np.int64)[members.argmax(axis=-1)]  # (C, …, K)
    return 1.0 - votes.sum(axis=0).max(axis=-1) / len(members)


def dropout(members: np.ndarray) -> dict[str, float]:
    """The sentence-level signals of passes with dropout.

    Args:
        members: (C, T, K) the tag probabilities of each of T tokens in each of C passes.

    Returns:
        mutual_information_max, mutual_information_mean, variation_ratio_max, variation_ratio_mean (0..1, lower is
        safer); 0 without tokens.
    """
    found = {"mutual_information": mutual_information, "variation_ratio": variation_ratio}
    signals = dict[str, float]()
    for name, measure in found.items():
        values = measure(members) if members.shape[1] else np.zeros(1)
        signals |= {f"{name}_max": float(values.max()), f"{name}_mean": float(values.mean())}
    return signals


def _entropy(p: np.ndarray) -> np.ndarray:
    clipped = np.clip(p, 1e-12, 1.0)
    return -(clipped * np.log(clipped)).sum(axis=-1)
