"""Chooses which items a human should label next, says why for each, and draws a part of them uniformly."""

from pipelines.sampling.pool import Pick
from pipelines.sampling.selection import Selected, select
from pipelines.sampling.strategies import STRATEGIES, Strategy, needs_embeddings, strategy_named, wanted_uncertainties

__all__ = [
    "STRATEGIES",
    "Pick",
    "Selected",
    "Strategy",
    "needs_embeddings",
    "select",
    "strategy_named",
    "wanted_uncertainties",
]
