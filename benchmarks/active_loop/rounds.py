"""Holds what a loop came to, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.active_loop.truth import Accepted
from models.types import Task
from pipelines.sampling import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything a loop gets.

    Attributes:
        drop: items that come in each round.
        budget: what people are asked to label of them, a part of it drawn uniformly and the rest chosen.
        explore: that part; audits come on top.
        held_out: items that nothing is learnt from, for quality.
        error_rate: of the annotators.
    """

    rounds: int
    drop: int
    budget: int
    explore: float
    held_out: int
    error_rate: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round of a loop.

    Attributes:
        chosen_labels: what was labelled so far because a strategy chose it, before this round's model was trained.
        random_labels: the same of the random sample, at this round's certificate.
        wrong_answers: how many answers so far have an error in them.
        lessons: how many items this round's model was trained on.
        quality: F1 of this round's model on held-out items, by part and of all.
        certified_on: answers under the certificate; ``calibrated_on`` others are under the scores.
        threshold: None where nothing was certified.
        bound: on the share of all items that is accepted and wrong.
        expected: the share of items that the certificate says it accepts.
        drop: what the policy accepted of the round's drop, against the truth, by part and of all.
        fresh: the same of the held-out items.
        by_eye: what thresholds by eye would have accepted of the drop.
        accepted_by_older: items that the last round's policy accepted of what this round's model said.
        suspended: whether audits stopped the policy.
    """

    number: int
    model: str
    chosen_labels: int
    random_labels: int
    wrong_answers: int
    lessons: int
    quality: Mapping[str, float]
    certified_on: int
    calibrated_on: int
    threshold: float | None
    bound: float
    expected: float
    drop: Mapping[str, Accepted]
    fresh: Mapping[str, Accepted]
    by_eye: Mapping[str, Accepted]
    accepted_by_older: int
    suspended: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A whole loop; ``last_quality`` is that of the model which learnt from all ``chosen_labels``."""

    task: Task
    strategy: Strategy
    seed: int
    rounds: tuple[Round, ...]
    chosen_labels: int
    last_quality: Mapping[str, float]

    def curve(self, part: str = "all") -> list[tuple[int, float]]:
        """The quality after so many chosen labels, from none on."""
        points = [(one.chosen_labels, one.quality[part]) for one in self.rounds]
        return [*points, (self.chosen_labels, self.last_quality[part])]
