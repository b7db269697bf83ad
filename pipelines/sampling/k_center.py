"""Chooses items that are far from everything known: a greedy core-set."""

from __future__ import annotations

import numpy as np

from pipelines.sampling.distances import nearest
from pipelines.sampling.pool import Pick, Pool
from pipelines.sampling.room import Room
from pipelines.sampling.subsample import subsample


def k_center(pool: Pool, room: Room, rng: np.random.Generator) -> list[Pick]:
    """Again and again the item that is farthest from all that is labelled, queued or chosen (Sener & Savarese 2018).

    The greedy algorithm for k centres, within a factor of two of the best cover. Where nothing is known yet, the first
    item is drawn at random. Of a large pool, as many items are looked at as ``subsample`` says.
    """
    candidates = subsample(pool.free, budget=room.left, rng=rng)
    if not len(candidates):
        return []
    points = pool.points(candidates)
    squares = np.einsum("ij,ij->i", points, points)
    distances = nearest(points, pool.points(pool.known))
    picks = list[Pick]()
    while True:
        open_to = np.where(room.allows(candidates), distances, -1.0)
        if open_to.max() < 0.0:
            return picks
        # infinite where nothing is known: then all are equally far
        place = int(open_to.argmax()) if picks or len(pool.known) else int(rng.choice(np.flatnonzero(open_to >= 0.0)))
        if not room.take(candidates[place : place + 1]):
            return picks  # it is within the radius, and what is left is closer still
        picks.append(_pick(candidates[place], float(distances[place]), len(candidates)))
        squared = squares + squares[place] - 2.0 * (points @ points[place])
        distances = np.minimum(distances, np.sqrt(np.maximum(squared, 0.0)))
        distances[place] = -1.0


def _pick(index: np.int64, distance: float, candidates: int) -> Pick:
    if np.isinf(distance):
        reason = f"k_center: the first, drawn from {candidates:,} open items, as nothing is labelled yet"
        return Pick(index=int(index), utility=0.0, reason=reason)
    reason = f"k_center: {distance:.4g} away from all that is labelled or chosen, the farthest of {candidates:,} items"
    return Pick(index=int(index), utility=distance, reason=reason)
