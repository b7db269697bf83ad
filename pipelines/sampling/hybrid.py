"""Chooses what is uncertain and unlike: clusters of the most uncertain items, and the item in the middle of each."""

from __future__ import annotations

import numpy as np

from pipelines.sampling.distances import to_one
from pipelines.sampling.k_means import clusters_of
from pipelines.sampling.pool import Pick, Pool
from pipelines.sampling.ranked import by_uncertainty
from pipelines.sampling.room import Room

_CANDIDATES = 10  # for each item of the budget
_LEAST_WEIGHT = 1e-3  # so that items of no uncertainty still have a place
_MOST_PAIRS = 20_000_000  # of candidates and clusters; above it, k-means sees them in small batches


def hybrid(pool: Pool, room: Room, rng: np.random.Generator) -> list[Pick]:
    """Of the 10 · budget most uncertain items, those nearest to the centres of ``budget`` clusters.

    The clusters are those of k-means weighted by uncertainty (Zhdanov 2019, "Diverse mini-batch Active Learning", §3),
    so that twins of one uncertain item are chosen once. Where quotas bar a cluster's items, the next most uncertain
    candidates take its place.
    """
    candidates = np.array(room.wider(_CANDIDATES).take(by_uncertainty(pool, rng)), dtype=np.int64)
    if not len(candidates):
        return []
    points, weights = pool.points(candidates), pool.uncertain(candidates)
    room = room.without_radius()
    clusters, centres = _clusters(points, weights, count=room.left, rng=rng)
    picks, chosen = list[Pick](), set[int]()
    for cluster in _heaviest_first(clusters, weights):
        members = np.flatnonzero(clusters == cluster)
        nearest_first = members[np.argsort(to_one(points[members], centres[cluster]), kind="stable")]
        for index in room.take(candidates[nearest_first], most=1):
            picks.append(_pick(pool, index, len(members), len(candidates)))
            chosen.add(index)
    rest = candidates[~np.isin(candidates, list(chosen))]
    return picks + [_pick(pool, index, 0, len(candidates)) for index in room.take(rest)]


def _pick(pool: Pool, index: int, size: int, candidates: int) -> Pick:
    value = float(pool.uncertain(np.array([index]))[0])
    where = f"nearest to the centre of a cluster of {size:,}" if size else "the next"
    reason = f"hybrid: {where} among the {candidates:,} most uncertain open items ({pool.measure} {value:.3f})"
    return Pick(index=index, utility=value, reason=reason)


def _clusters(
    points: np.ndarray, weights: np.ndarray, *, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each of (m, d) points, and the (count, d) centres; equal points count as one, weighted."""
    distinct, places = np.unique(points, axis=0, return_inverse=True)
    places = places.reshape(-1)
    if len(distinct) <= count:
        return places, distinct
    summed = np.bincount(places, weights=np.maximum(weights, _LEAST_WEIGHT))
    is_large = len(distinct) * count > _MOST_PAIRS
    labels, centres = clusters_of(distinct, summed, count=count, is_large=is_large, rng=rng)
    return labels[places], centres


def _heaviest_first(clusters: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The clusters that have members, the most uncertainty first."""
    summed = np.bincount(clusters, weights=np.maximum(weights, _LEAST_WEIGHT))
    order = np.argsort(-summed, kind="stable")
    return order[summed[order] > 0.0]
