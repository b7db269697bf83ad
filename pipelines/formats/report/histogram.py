"""Counts the items of a report by score: how many were accepted and how many wait for a human."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pipelines.formats.results import Result

BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The items whose score lies in [low, high); the last bar takes 1.0 too."""

    low: float
    high: float
    accepted: int
    review: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Items with labels by the score of their weakest label.

    Attributes:
        threshold: the one that most of these items were held against; None where nothing was decided.
        is_only_threshold: False where items were held against different ones.
    """

    bars: tuple[Bar, ...]
    accepted: int
    review: int
    threshold: float | None
    is_only_threshold: bool

    @property
    def highest(self) -> int:
        return max(bar.accepted + bar.review for bar in self.bars)


class Scores:
    """Counts the items of one task by score, one after the other; those without labels have none and are left out."""

    def __init__(self) -> None:
        self._counts = Counter[tuple[int, bool]]()
        self._thresholds = Counter[float]()

    def add(self, result: Result) -> None:
        if not result.annotations or not result.decision:
            return
        place = min(int(item_score(result) * BINS), BINS - 1)
        self._counts[place, result.decision.route in ("accept", "audit")] += 1
        if result.decision.threshold is not None:
            self._thresholds[result.decision.threshold] += 1

    def histogram(self) -> Histogram:
        counts, thresholds = self._counts, self._thresholds
        bars = tuple(
            Bar(low=place / BINS, high=(place + 1) / BINS, accepted=counts[place, True], review=counts[place, False])
            for place in range(BINS)
        )
        return Histogram(
            bars=bars,
            accepted=sum(bar.accepted for bar in bars),
            review=sum(bar.review for bar in bars),
            threshold=max(thresholds, key=lambda threshold: (thresholds[threshold], threshold), default=None),
            is_only_threshold=len(thresholds) <= 1,
        )


def item_score(result: Result) -> float:
    """The score of an item's weakest label."""
    return min(annotation.score for annotation in result.annotations)
