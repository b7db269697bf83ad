"""Chooses typical items of what is not covered yet: where a model is too young for its uncertainty to mean much."""

from __future__ import annotations

import heapq

import numpy as np

from pipelines.sampling.k_means import clusters_of
from pipelines.sampling.pool import Pick, Pool
from pipelines.sampling.room import Room
from pipelines.sampling.subsample import subsample

_NEIGHBOURS = 20
_FEWEST = 5  # smaller clusters are outliers (the authors' implementation drops them)
_MOST_MEMBERS = 2_000  # of a cluster, compared with each other
_MOST_CLUSTERS = 1_000
_FEW_CLUSTERS = 50  # up to these, k-means sees all points at once, as the authors have it


def typiclust(pool: Pool, room: Room, rng: np.random.Generator) -> list[Pick]:
    """The most typical item of each of the largest clusters that hold nothing known (Hacohen, Dekel & Weinshall 2022).

    There are as many clusters as known and wanted items together, up to 1,000 or the budget. An item's typicality is
    the reciprocal of its mean distance to its 20 nearest neighbours in the cluster. When every cluster is covered,
    those with the fewest known items come next. Of a large pool, as many are looked at as ``subsample`` says.
    """
    free = subsample(pool.free, budget=room.left, rng=rng)
    known = subsample(pool.known, budget=room.left, rng=rng)
    if not len(free):
        return []
    indices = np.concatenate([free, known])
    points = pool.points(indices).astype(np.float32)
    most = max(room.left, min(len(known) + room.left, _MOST_CLUSTERS))
    clusters = _clusters(points, count=min(most, len(indices)), rng=rng)
    covered = np.bincount(clusters[len(free) :], minlength=clusters.max() + 1)
    queue = list[tuple[bool, int, int, int]]()  # outliers last; then few known items, then many members
    ranked = dict[int, tuple[np.ndarray, np.ndarray]]()
    for cluster in np.unique(clusters[: len(free)]).tolist():
        members = np.flatnonzero(clusters[: len(free)] == cluster)
        heapq.heappush(queue, (len(members) < _FEWEST, int(covered[cluster]), -len(members), cluster))
    picks = list[Pick]()
    while queue and room.left:
        is_small, count, negative_size, cluster = heapq.heappop(queue)
        if cluster not in ranked:
            ranked[cluster] = _typical_first(points, np.flatnonzero(clusters[: len(free)] == cluster), rng)
        members, distances = ranked[cluster]
        taken = room.take(free[members], most=1)
        if not taken:
            continue  # nothing of it fits any more
        place = int(np.flatnonzero(free[members] == taken[0])[0])
        picks.append(_pick(taken[0], float(distances[place]), -negative_size, count))
        ranked[cluster] = (members[place + 1 :], distances[place + 1 :])
        if place + 1 < len(members):
            heapq.heappush(queue, (is_small, count + 1, negative_size, cluster))
    return picks


def _pick(index: int, distance: float, size: int, covered: int) -> Pick:
    of = "that holds nothing labelled" if not covered else f"that holds {covered:,} known items"
    reason = f"typiclust: {distance:.4g} from its neighbours on average, among the least in a cluster of {size:,} {of}"
    return Pick(index=index, utility=1.0 / max(distance, 1e-12), reason=reason)


def _typical_first(points: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The members of a cluster, the most typical first, and the mean distance of each to its neighbours."""
    if len(members) == 1:
        return members, np.zeros(1)
    from sklearn.neighbors import NearestNeighbors

    if len(members) > _MOST_MEMBERS:
        members = np.sort(rng.choice(members, size=_MOST_MEMBERS, replace=False))
    count = min(_NEIGHBOURS, len(members) - 1)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points[members])
    found, _ = search.kneighbors()  # without the point itself
    distances = found.mean(axis=1)
    order = np.argsort(distances, kind="stable")
    return members[order], distances[order]


def _clusters(points: np.ndarray, *, count: int, rng: np.random.Generator) -> np.ndarray:
    """The cluster of each of (m, d) float32 points: (m,) int."""
    labels, _ = clusters_of(points, np.ones(len(points)), count=count, is_large=count > _FEW_CLUSTERS, rng=rng)
    return labels
