"""Chooses by one number for each item: at random, by an uncertainty, by uncertainty for its cost, or slice by slice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.sampling.pool import Pick, Pool, refused
from pipelines.sampling.room import Room


def at_random(pool: Pool, room: Room, rng: np.random.Generator) -> list[Pick]:
    """Items in a random order, as far as there is room; quotas or a radius make the draw uneven."""
    order = rng.permutation(pool.free)
    reason = f"random: drawn from {len(pool.free):,} items that are neither labelled nor queued"
    return [Pick(index=index, utility=0.0, reason=reason) for index in room.take(order)]


def most_uncertain(pool: Pool, room: Room, rng: np.random.Generator) -> list[Pick]:
    """The items with the largest uncertainty; ties are broken at random."""
    order = by_uncertainty(pool, rng)

    def reason(index: int, value: float) -> str:
        return f"{pool.measure}: uncertainty {value:.3f}, rank {rank(index):,} of {len(order):,} open items"

    rank = _ranks(order)
    return _picks(room.take(order), _uncertainty(pool), reason)


def cost_aware(pool: Pool, room: Room, rng: np.random.Generator) -> list[Pick]:
    """The items with the most uncertainty for their cost.

    That is the greedy answer to the knapsack problem: by uncertainty / cost, leaving out what does not fit any more
    (Settles, Craven & Friedland 2008, "Active Learning with Real Annotation Costs", return on investment).
    """
    if pool.cost is None:
        raise refused("the strategy cost_aware needs a cost for each item; give cost, or take another strategy")
    uncertainty, cost = _uncertainty(pool), pool.cost
    order = _descending((uncertainty / cost)[pool.free], pool.free, rng)
    rank = _ranks(order)

    def reason(index: int, value: float) -> str:
        figures = f"{value:.4g} for each unit of cost ({uncertainty[index]:.3f} for {cost[index]:.4g})"
        return f"cost_aware: {pool.measure} {figures}, rank {rank(index):,} of {len(order):,} open items"

    return _picks(room.take(order), uncertainty / cost, reason)


def stratified(pool: Pool, room: Room, rng: np.random.Generator) -> list[Pick]:
    """As many items of each group as of any other, as far as it has them; its most uncertain first, if that is known.

    The groups take turns, in a random order in each round, so that a budget that does not divide favours none.
    """
    if pool.group is None:
        raise refused("the strategy stratified needs a group for each item; give groups, or take another strategy")
    order = by_uncertainty(pool, rng) if pool.uncertainty is not None else rng.permutation(pool.free)
    turns = np.empty(len(order), dtype=np.int64)
    for group in range(len(pool.groups)):
        of_group = np.flatnonzero(pool.group[order] == group)
        turns[of_group] = np.arange(len(of_group))
    sizes = np.bincount(pool.group[order], minlength=len(pool.groups))
    in_turn = order[np.lexsort((rng.random(len(order)), turns))]
    values = np.zeros(len(pool.group)) if pool.uncertainty is None else pool.uncertainty
    group_of = pool.group

    def reason(index: int, value: float) -> str:
        group = group_of[index]
        known = "" if pool.uncertainty is None else f" by {pool.measure} ({value:.3f})"
        return f"stratified: from slice '{pool.groups[group]}' with {sizes[group]:,} open items{known}"

    return _picks(room.take(in_turn), values, reason)


def by_uncertainty(pool: Pool, rng: np.random.Generator) -> np.ndarray:
    """The free items, the most uncertain first: (m,) int64."""
    return _descending(_uncertainty(pool)[pool.free], pool.free, rng)


def _uncertainty(pool: Pool) -> np.ndarray:
    if pool.uncertainty is None:
        raise refused("this strategy needs an uncertainty for each item; give one, or take random or k_center")
    return pool.uncertainty


def _descending(values: np.ndarray, indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shuffled = rng.permutation(len(values))
    return indices[shuffled[np.argsort(-values[shuffled], kind="stable")]]


def _ranks(order: np.ndarray) -> Callable[[int], int]:
    """From an index to its place in the order, from 1."""
    ranks = np.empty(order.max(initial=-1) + 1, dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return lambda index: int(ranks[index])


def _picks(indices: list[int], values: np.ndarray, reason: Callable[[int, float], str]) -> list[Pick]:
    return [
        Pick(index=index, utility=float(values[index]), reason=reason(index, float(values[index]))) for index in indices
    ]
