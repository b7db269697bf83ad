"""Holds what a search for a threshold came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A threshold and what is proven of it; ``REVIEW_ALL`` with the nearest miss where nothing is."""

    threshold: float
    bound: float
