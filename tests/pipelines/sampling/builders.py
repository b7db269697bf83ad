"""Builds pools to sample from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.sampling import Selected, select


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """n items with embeddings, all uncertainties, costs and groups; the first ``labelled`` of them have labels."""

    ids: list[str]
    embeddings: np.ndarray
    uncertainty: dict[str, np.ndarray]
    cost: np.ndarray
    groups: list[str]
    labelled: list[str]

    def select(self, budget: int, *, seed: int = 0, **changes: Any) -> list[Selected]:
        asked: dict[str, Any] = {"cost": self.cost, "groups": self.groups, "rng": np.random.default_rng(seed)}
        return select(self.ids, self.embeddings, self.uncertainty, self.labelled, budget, **asked | changes)

    def index(self, item_id: str) -> int:
        return self.ids.index(item_id)


def some_items(count: int = 60, *, labelled: int = 6, dimension: int = 3, groups: int = 3, seed: int = 0) -> Items:
    """A random pool; some items are twins of others."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(count, dimension))
    twins = rng.random(count) < 0.3
    embeddings[twins] = embeddings[rng.integers(count, size=count)][twins]
    values = rng.random(count).round(2)  # with ties
    return Items(
        ids=[f"item {index}" for index in range(count)],
        embeddings=embeddings.astype(np.float16),
        uncertainty=dict.fromkeys(("least_confidence", "margin", "entropy"), values),
        cost=rng.uniform(0.5, 5.0, size=count),
        groups=[f"slice {index % groups}" for index in range(count)],
        labelled=[f"item {index}" for index in range(labelled)],
    )


def distance(items: Items, one: str, other: str) -> float:
    rows = items.embeddings[[items.index(one), items.index(other)]].astype(np.float64)
    return float(np.linalg.norm(rows[0] - rows[1]))
