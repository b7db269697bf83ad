"""Keeps account of what may still be chosen: the budget, the quotas of groups, and the distance to what is known."""

from __future__ import annotations

import numpy as np

from pipelines.sampling.distances import nearest
from pipelines.sampling.pool import Pool

_BLOCK = 1024


class Room:
    """What a selection has room for. What is taken takes up room for what comes after it."""

    def __init__(
        self,
        pool: Pool,
        *,
        budget: int,
        quotas: np.ndarray | None = None,
        radius: float | None = None,
        most_cost: float | None = None,
    ) -> None:
        """The room at the start.

        Args:
            budget: how many items.
            quotas: (G,) how many of each group of the pool, infinite for as many as there are.
            radius: no item is taken that is closer than this to one that is known or taken.
            most_cost: what the items may cost together.
        """
        self._pool, self._radius = pool, radius
        self.left = budget
        self._quotas = None if quotas is None else quotas.astype(np.float64).copy()
        self._cost_left = np.inf if most_cost is None else most_cost
        self._known = pool.points(pool.known) if radius is not None else np.empty((0, 0))
        self._taken = list[np.ndarray]()

    def wider(self, factor: int) -> Room:
        """Room for so many times as many items, with the same radius; to choose candidates from which to choose."""
        quotas = None if self._quotas is None else self._quotas * factor
        return Room(self._pool, budget=self.left * factor, quotas=quotas, radius=self._radius)

    def without_radius(self) -> Room:
        """The same room for candidates that are far enough apart already."""
        return Room(self._pool, budget=self.left, quotas=self._quotas, most_cost=self._most_cost)

    @property
    def _most_cost(self) -> float | None:
        return None if np.isinf(self._cost_left) else self._cost_left

    def allows(self, indices: np.ndarray) -> np.ndarray:
        """Which items the quotas and the cost leave room for, whatever their distances: (m,) bool."""
        allowed = np.full(len(indices), self.left > 0)
        if self._quotas is not None and self._pool.group is not None:
            allowed &= self._quotas[self._pool.group[indices]] >= 1.0
        if self._pool.cost is not None:
            allowed &= self._pool.cost[indices] <= self._cost_left
        return allowed

    def take(self, order: np.ndarray, most: int | None = None) -> list[int]:
        """The first of these indices that fit, in their order, ``most`` of them; they are taken."""
        wanted = self.left if most is None else min(most, self.left)
        taken = list[int]()
        for start in range(0, len(order), _BLOCK):
            if len(taken) >= wanted:
                break
            block = order[start : start + _BLOCK]
            taken += self._take_of(block[self.allows(block)], wanted - len(taken))
        return taken

    def _take_of(self, block: np.ndarray, most: int) -> list[int]:
        points = self._apart(block)
        taken, first = list[int](), len(self._taken)
        for place, index in enumerate(block.tolist()):
            if len(taken) >= most:
                break
            if points is not None and not self._is_apart(points[place], first):
                continue
            if not self.allows(block[place : place + 1])[0]:
                continue
            self._add(index, None if points is None else points[place])
            taken.append(index)
        return taken

    def _apart(self, block: np.ndarray) -> np.ndarray | None:
        """The block's points, NaN where they are too close to what is known or taken; None without a radius."""
        if self._radius is None:
            return None
        points = self._pool.points(block)
        distances = np.minimum(nearest(points, self._known), nearest(points, np.array(self._taken)))
        points[distances < self._radius] = np.nan
        return points

    def _is_apart(self, point: np.ndarray, first: int) -> bool:
        """Whether a point is apart, also from what the block itself has taken."""
        if np.isnan(point[0]):
            return False
        fresh = self._taken[first:]
        return not fresh or bool((np.linalg.norm(np.array(fresh) - point, axis=1) >= self._radius).all())

    def _add(self, index: int, point: np.ndarray | None) -> None:
        self.left -= 1
        if self._quotas is not None and self._pool.group is not None:
            self._quotas[self._pool.group[index]] -= 1.0
        if self._pool.cost is not None:
            self._cost_left -= self._pool.cost[index]
        if point is not None:
            self._taken.append(point)
