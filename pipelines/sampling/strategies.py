"""Names the strategies, and says what each needs to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from pipelines.sampling.hybrid import hybrid
from pipelines.sampling.k_center import k_center
from pipelines.sampling.pool import Pick, Pool, refused
from pipelines.sampling.ranked import at_random, cost_aware, most_uncertain, stratified
from pipelines.sampling.room import Room
from pipelines.sampling.typiclust import typiclust

Strategy = Literal[
    "hybrid",
    "random",
    "least_confidence",
    "margin",
    "entropy",
    "k_center",
    "typiclust",
    "stratified",
    "cost_aware",
]
Choose = Callable[[Pool, Room, np.random.Generator], list[Pick]]

STRATEGIES: Mapping[Strategy, Choose] = {
    "hybrid": hybrid,
    "random": at_random,
    "least_confidence": most_uncertain,
    "margin": most_uncertain,
    "entropy": most_uncertain,
    "k_center": k_center,
    "typiclust": typiclust,
    "stratified": stratified,
    "cost_aware": cost_aware,
}

_ENTROPIES = ("entropy", "entropy_max", "entropy_mean")
_OF_ITS_NAME: Mapping[Strategy, tuple[str, ...]] = {
    "least_confidence": ("least_confidence",),
    "margin": ("margin",),
    "entropy": _ENTROPIES,
}
_ANY = ("margin", "least_confidence", *_ENTROPIES)


def strategy_named(name: str) -> Strategy:
    """The strategy of this name.

    Raises:
        InvalidRequestError: there is none.
    """
    for strategy in STRATEGIES:
        if strategy == name:
            return strategy
    raise refused(f"unknown strategy '{name}'; choose one of: {', '.join(STRATEGIES)}")


def wanted_uncertainties(strategy: Strategy) -> tuple[str, ...]:
    """The names of the uncertainties that a strategy can use, the best first; none for what needs no uncertainty."""
    if strategy in ("random", "k_center", "typiclust"):
        return ()
    return _OF_ITS_NAME.get(strategy, _ANY)


def needs_uncertainty(strategy: Strategy) -> bool:
    """Whether a strategy cannot do without; ``hybrid`` begins with typiclust then, ``stratified`` draws at random."""
    return strategy in ("least_confidence", "margin", "entropy", "cost_aware")


def needs_embeddings(strategy: Strategy, *, radius: float | None = None) -> bool:
    """Whether a strategy, or a radius, needs to know how far items are from each other."""
    return radius is not None or strategy in ("hybrid", "k_center", "typiclust")
