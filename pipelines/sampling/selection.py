"""Chooses items for humans by a strategy, after a part of them has been drawn uniformly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.sampling.pool import (
    Pick,
    Pool,
    checked_embeddings,
    checked_groups,
    checked_numbers,
    index_of,
    places_of,
    refused,
)
from pipelines.sampling.room import Room
from pipelines.sampling.strategies import (
    STRATEGIES,
    Choose,
    Strategy,
    needs_embeddings,
    needs_uncertainty,
    strategy_named,
    wanted_uncertainties,
)
from pipelines.sampling.typiclust import typiclust

_LABELS_PER_CLASS = 2  # of a model that learns from nothing else; with fewer its uncertainty means little


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """An item to label.

    Attributes:
        reason: one sentence, which begins with the strategy's name, or "explore" for what was drawn uniformly.
        utility: what the strategy ranked the item by, larger = better: uncertainty, distance, typicality, uncertainty
            for its cost; 0 for what was drawn.
        propensity: the probability with which the item was drawn, for what was drawn uniformly; None for the others,
            whose choice depends on the data, so that no estimate may rest on them.
    """

    id: str
    reason: str
    utility: float
    propensity: float | None

    @property
    def is_uniform(self) -> bool:
        """Whether it belongs to the simple random sample."""
        return self.propensity is not None


def select(
    ids: Sequence[str],
    embeddings: np.ndarray | None,
    uncertainty: Mapping[str, np.ndarray] | np.ndarray | None,
    labelled_ids: Sequence[str],
    budget: int,
    *,
    cost: Sequence[float] | np.ndarray | None = None,
    groups: Sequence[str] | None = None,
    strategy: Strategy = "hybrid",
    explore: float = 0.1,
    quotas: Mapping[str, int] | None = None,
    radius: float | None = None,
    most_cost: float | None = None,
    queued_ids: Sequence[str] = (),
    classes: int | None = None,
    drawn_from: Literal["unlabelled", "all"] = "unlabelled",
    rng: np.random.Generator,
) -> list[Selected]:
    """Choose which items to label next: first those drawn uniformly, then the strategy's, the best first.

    A share ``explore`` of the budget, rounded, is drawn first: a simple random sample of everything that is not
    labelled, or of all, queued or not, whatever its group and its neighbours. Certificates and calibrations may rest on
    one of all; what is not labelled is no random sample where somebody chose what was labelled. The quotas, the radius
    and the cost then bind the rest, and count what was drawn. Fewer items than the budget come back where there is no
    room for more. With the strategy ``random`` and nothing that binds, all of them are drawn so.

    Args:
        ids: of n items, each once, labelled ones among them.
        embeddings: (n, d) floating, float16 and memory maps too; None where the strategy needs none.
        uncertainty: named (n,) arrays, of which the strategy takes its own, or one array; 0 or more, larger = less
            sure. ``margin`` is 1 - (p1 - p2), ``least_confidence`` 1 - p1.
        labelled_ids: what humans have labelled; not chosen, and drawn only from all.
        budget: how many items; at most as many as are not labelled.
        cost: (n,) above 0, of labelling each item, for cost_aware and ``most_cost``.
        groups: (n,) names, for ``quotas`` and stratified.
        quotas: how many items of a group may be chosen; a group without one has no bound.
        radius: nothing is chosen that is closer than this (Euclidean) to what is labelled, queued or chosen.
        most_cost: what the chosen items may cost together.
        queued_ids: what waits for a human already; it is not chosen, but may be drawn.
        classes: how many there are, where the model has learnt from these labels alone. With fewer than two labels for
            each, or without uncertainties, hybrid is typiclust.
        drawn_from: what the draw is from. What it takes of labelled items needs no label any more.
        rng: decides what is drawn; the same state and arguments give the same answer.

    Raises:
        InvalidRequestError: invalid_argument: shapes, ids or numbers do not fit, or the strategy lacks what it needs.
    """
    strategy = strategy_named(strategy)
    _check_bounds(budget, explore, radius, most_cost)
    if most_cost is not None and cost is None:
        raise refused("most_cost bounds the cost of all items; give the cost of each")
    places = index_of(ids)
    labelled = places_of(labelled_ids, places, what="labelled ids")
    queued = places_of(queued_ids, places, what="queued ids")
    unlabelled = np.setdiff1d(np.arange(len(ids)), labelled, assume_unique=True)
    needed = _needed(embeddings, strategy, radius, count=len(ids))
    measure, measured = _measured(uncertainty, strategy, count=len(ids))
    group, names = checked_groups(groups, count=len(ids))
    bounds = _quotas(quotas, names)
    binds = not (quotas is None and radius is None and most_cost is None)
    name, share = ("random", 1.0) if strategy == "random" and not binds else ("explore", explore)
    source = unlabelled if drawn_from == "unlabelled" else np.arange(len(ids))
    drawn = _drawn(source, budget, share, rng)
    what = "unlabelled items" if drawn_from == "unlabelled" else "items"
    known = np.union1d(labelled, np.union1d(queued, drawn))
    pool = Pool(
        free=np.setdiff1d(unlabelled, known, assume_unique=True),
        known=known,
        embeddings=needed,
        uncertainty=measured,
        measure=measure,
        cost=None if cost is None else checked_numbers(cost, count=len(ids), what="cost", above_zero=True),
        group=group,
        groups=names,
    )
    room = _room(pool, drawn, budget, bounds, radius, most_cost)
    choose = _choice(strategy, pool, labels=len(labelled), classes=classes)
    picks = choose(pool, room, rng) if room.left and len(pool.free) else []
    return [*_uniform(ids, drawn, source, name=name, what=what), *(_selected(ids, pick) for pick in picks)]


def _selected(ids: Sequence[str], pick: Pick) -> Selected:
    return Selected(id=ids[pick.index], reason=pick.reason, utility=pick.utility, propensity=None)


def _check_bounds(budget: int, explore: float, radius: float | None, most_cost: float | None) -> None:
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer) or budget < 0:
        raise refused(f"budget must be a whole number of 0 or more; got {budget!r}")
    if not 0.0 <= explore <= 1.0:
        raise refused(f"explore must be a share from 0 to 1; got {explore}")
    for name, value in (("radius", radius), ("most_cost", most_cost)):
        if value is not None and not (math.isfinite(value) and value >= 0.0):
            raise refused(f"{name} must be a finite number of 0 or more; got {value}")


def _measured(
    uncertainty: Mapping[str, np.ndarray] | np.ndarray | None, strategy: Strategy, *, count: int
) -> tuple[str, np.ndarray | None]:
    """The uncertainty that the strategy takes, and its name."""
    wanted = wanted_uncertainties(strategy)
    if not wanted:
        return "", None
    if isinstance(uncertainty, Mapping):
        name = next((name for name in wanted if name in uncertainty), None)
        values = None if name is None else uncertainty[name]
        there = f"; there are: {', '.join(sorted(uncertainty)) or 'none'}"
    else:
        name, values, there = wanted[0], uncertainty, ""
    if name is None or values is None:
        if needs_uncertainty(strategy):
            raise refused(f"the strategy {strategy} needs the uncertainty {' or '.join(wanted)}{there}")
        return "", None
    return name, checked_numbers(values, count=count, what=f"the uncertainty {name}", above_zero=False)


def _needed(
    embeddings: np.ndarray | None, strategy: Strategy, radius: float | None, *, count: int
) -> np.ndarray | None:
    """The embeddings, if they are of use; else they are not looked at."""
    if not needs_embeddings(strategy, radius=radius):
        return None
    if embeddings is None:
        need = f"the strategy {strategy}" if needs_embeddings(strategy) else "a radius"
        raise refused(f"{need} needs embeddings, and there are none; give them, or choose by margin or at random")
    return checked_embeddings(embeddings, count=count)


def _quotas(quotas: Mapping[str, int] | None, groups: Sequence[str]) -> np.ndarray | None:
    """(G,) what each of the groups has room for."""
    if quotas is None:
        return None
    if not groups:
        raise refused("quotas are of groups; name the group of each item")
    if unknown := sorted(set(quotas) - set(groups)):
        raise refused(f"no item is in group '{unknown[0]}'; groups: {', '.join(groups[:20])}")
    if wrong := sorted(name for name, most in quotas.items() if most < 0):
        raise refused(f"the quota of group '{wrong[0]}' must be 0 or more; got {quotas[wrong[0]]}")
    return np.array([quotas.get(name, np.inf) for name in groups])


def _drawn(source: np.ndarray, budget: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """A simple random sample, in the order of the draw."""
    count = min(math.floor(share * budget + 0.5), len(source))
    return rng.choice(source, size=count, replace=False)


def _uniform(ids: Sequence[str], drawn: np.ndarray, source: np.ndarray, *, name: str, what: str) -> list[Selected]:
    """What was drawn, with the probability of it."""
    reason = f"{name}: one of {len(drawn):,} drawn uniformly from all {len(source):,} {what}"
    share = len(drawn) / max(len(source), 1)
    return [Selected(id=ids[index], reason=reason, utility=0.0, propensity=share) for index in map(int, drawn)]


def _room(
    pool: Pool,
    drawn: np.ndarray,
    budget: int,
    quotas: np.ndarray | None,
    radius: float | None,
    most_cost: float | None,
) -> Room:
    """What is left for the strategy after the draw."""
    if quotas is not None and pool.group is not None:
        quotas = np.maximum(quotas - np.bincount(pool.group[drawn], minlength=len(quotas)), 0.0)
    if most_cost is not None and pool.cost is not None:
        most_cost = max(most_cost - float(pool.cost[drawn].sum()), 0.0)
    return Room(pool, budget=budget - len(drawn), quotas=quotas, radius=radius, most_cost=most_cost)


def _choice(strategy: Strategy, pool: Pool, *, labels: int, classes: int | None) -> Choose:
    is_young = classes is not None and labels < _LABELS_PER_CLASS * classes
    if strategy == "hybrid" and (pool.uncertainty is None or is_young):
        return typiclust
    return STRATEGIES[strategy]
