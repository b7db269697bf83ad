"""Counts how far a run over a drop is."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines import retries
from pipelines.store.values import TaskCounts
from pipelines.types import Failed, Outcome


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is.

    ``listed`` is how many items are known by now, all of them once ``is_listed``. ``labels``, ``nothing_found`` and
    ``failed`` count items by their state, ``accepted`` and ``review`` what the policy did with those that have a
    pre-label. ``retrying`` of the failed will be tried again. ``stored`` counts what this attempt has stored in
    ``elapsed_s`` seconds.
    """

    listed: int = 0
    is_listed: bool = False
    labels: int = 0
    nothing_found: int = 0
    failed: int = 0
    accepted: int = 0
    review: int = 0
    retrying: int = 0
    stored: int = 0
    elapsed_s: float = 0.0

    @property
    def finished(self) -> int:
        return self.labels + self.nothing_found + self.failed - self.retrying

    @property
    def items_per_s(self) -> float:
        return self.stored / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def eta_s(self) -> float | None:
        """How long the rest will take at the rate so far; None as long as nobody knows."""
        if not self.is_listed or not self.stored:
            return None
        return (self.listed - self.finished) / self.items_per_s

    @staticmethod
    def of(counts: TaskCounts, *, retrying: int) -> Progress:
        return Progress(
            labels=counts.labels,
            nothing_found=counts.nothing_found,
            failed=counts.failed,
            accepted=counts.accept + counts.audit,
            review=counts.review + counts.scratch,
            retrying=retrying,
        )

    def add(self, outcome: Outcome, *, has_failed: bool) -> None:
        """Count an outcome that was stored, in the place of a failure if the item ``has_failed`` before."""
        self.stored += 1
        if has_failed:
            self.failed, self.retrying = self.failed - 1, self.retrying - 1
        if isinstance(outcome, Failed):
            failure = outcome.failure
            self.failed += 1
            self.retrying += retries.wait_s(failure.code, attempts=failure.attempts) is not None
            return
        if outcome.pre_label.prediction.annotations:
            self.labels += 1
        else:
            self.nothing_found += 1
        if outcome.decision.route in ("accept", "audit"):
            self.accepted += 1
        else:
            self.review += 1
