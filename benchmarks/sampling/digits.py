"""Builds pools of scikit-learn's handwritten digits: as they are, with near-duplicates, and with rare classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["plain", "near_duplicate", "rare"]

_TEST_SHARE = 1 / 3
_COPIES, _NOISE = 5, 0.02  # of each image; standard deviation in units of a pixel's range
_RARE, _KEPT = (1, 5, 8), 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """What may be labelled, and what a model is tested on: (n, 64) float64 pixels in about [0, 1], (n,) classes."""

    pixels: np.ndarray
    classes: np.ndarray
    test_pixels: np.ndarray
    test_classes: np.ndarray


def digits(kind: Kind, rng: np.random.Generator) -> Digits:
    """A random pool of the 1,797 images of ``sklearn.datasets.load_digits``; a third of them is the test.

    near_duplicate: each image of the pool comes five times, with a little noise, as in the frames of a film. rare:
    of three classes a tenth is left in the pool; the test keeps all.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, classes = (np.asarray(array) for array in load_digits(return_X_y=True))
    seed = int(rng.integers(2**31))
    parts = train_test_split(pixels / 16.0, classes, test_size=_TEST_SHARE, stratify=classes, random_state=seed)
    pool, test, pool_classes, test_classes = (np.asarray(part) for part in parts)
    if kind == "near_duplicate":
        pool, pool_classes = np.repeat(pool, _COPIES, axis=0), np.repeat(pool_classes, _COPIES)
        pool = pool + rng.normal(scale=_NOISE, size=pool.shape)
    if kind == "rare":
        is_kept = ~np.isin(pool_classes, _RARE) | (rng.random(len(pool)) < _KEPT)
        pool, pool_classes = pool[is_kept], pool_classes[is_kept]
    return Digits(pixels=pool, classes=pool_classes, test_pixels=test, test_classes=test_classes)
