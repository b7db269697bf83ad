"""Trains a classifier on what a strategy chooses, round by round, and notes how good it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.sampling.digits import Digits
from pipelines.sampling import Strategy, select

SEED_SET, BATCH, ROUNDS = 20, 20, 15
LABELS = tuple(SEED_SET + BATCH * done for done in range(ROUNDS + 1))
_CLASSES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A strategy as it is called; ``explore`` is the share that is drawn uniformly."""

    name: str
    strategy: Strategy
    explore: float = 0.0


def curve(pool: Digits, arm: Arm, *, seed: int) -> np.ndarray:
    """The balanced accuracy of logistic regression (C = 10) after 20, 40 … 320 labels: (16,) float64.

    The first 20 are the same random ones for every arm of a seed.
    """
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng([seed, 1])
    ids = [str(index) for index in range(len(pool.pixels))]
    labelled = np.random.default_rng([seed, 2]).choice(len(ids), size=SEED_SET, replace=False).tolist()
    found = list[float]()
    for labels in LABELS:
        model = _fitted(pool, labelled)
        found.append(float(balanced_accuracy_score(pool.test_classes, model.predict(pool.test_pixels))))
        if labels < LABELS[-1]:
            chosen = select(
                ids,
                pool.pixels,
                uncertainties(model.predict_proba(pool.pixels)),
                [ids[index] for index in labelled],
                BATCH,
                strategy=arm.strategy,
                explore=arm.explore,
                classes=_CLASSES,
                rng=rng,
            )
            labelled += [int(pick.id) for pick in chosen]
    return np.array(found)


def uncertainties(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Least confidence, margin and normalised entropy of (n, K) probabilities: (n,) each, in [0, 1], 1 = no idea."""
    ordered = np.sort(probabilities, axis=1)
    terms = probabilities * np.log(np.maximum(probabilities, 1e-300))
    return {
        "least_confidence": 1.0 - ordered[:, -1],
        "margin": 1.0 - (ordered[:, -1] - ordered[:, -2]),
        "entropy": np.maximum(-terms.sum(axis=1) / np.log(probabilities.shape[1]), 0.0),
    }


def _fitted(pool: Digits, labelled: list[int]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10.0, max_iter=2_000).fit(pool.pixels[labelled], pool.classes[labelled])
