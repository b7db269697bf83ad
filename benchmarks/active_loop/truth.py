"""Holds what a model says, and what a policy accepts of it, against the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.active_loop.subject import Example, Subject, part_of
from pipelines.corrections.acceptable import loss, right_ones
from pipelines.types import Labelled

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """How many of some items were accepted, and how many of these are wrong."""

    items: int
    accepted: int
    wrong: int

    def __add__(self, other: Accepted) -> Accepted:
        """Both together."""
        return Accepted(
            items=self.items + other.items, accepted=self.accepted + other.accepted, wrong=self.wrong + other.wrong
        )

    @property
    def coverage(self) -> float:
        """The share of all items that is accepted."""
        return self.accepted / self.items if self.items else 0.0

    @property
    def dataset_error(self) -> float:
        """The share of all items that is accepted and wrong."""
        return self.wrong / self.items if self.items else 0.0


def is_accepted(outcome: Labelled) -> bool:
    """Whether routing took it as it is; what it had audited was taken, too."""
    return outcome.decision.route in ("accept", "audit")


def accepted(
    outcomes: Iterable[Labelled],
    examples: Mapping[str, Example],
    subject: Subject,
    *,
    accepts: Callable[[Labelled], bool] = is_accepted,
) -> dict[str, Accepted]:
    """What was accepted, by part and of all."""
    counts = defaultdict[str, list[int]](lambda: [0, 0, 0])
    for outcome in outcomes:
        is_in = accepts(outcome)
        is_wrong = is_in and _is_wrong(outcome, examples[outcome.item.id], subject)
        for part in (part_of(outcome.item), ALL):
            for place, amount in enumerate((1, is_in, is_wrong)):
                counts[part][place] += amount
    return {part: Accepted(items=n, accepted=taken, wrong=bad) for part, (n, taken, bad) in sorted(counts.items())}


def _is_wrong(outcome: Labelled, example: Example, subject: Subject) -> bool:
    return loss(subject.task, outcome.pre_label.prediction.annotations, example.truth, subject.acceptable) > 0.0


def quality(outcomes: Sequence[Labelled], examples: Mapping[str, Example], subject: Subject) -> dict[str, float]:
    """The F1 of the published annotations, by part and of all: counts are summed before they are divided.

    An annotation is right if it has a counterpart of its own with the same label: exactly the same span of a text, or a
    box at an IoU of 0.5.
    """
    counts = defaultdict[str, list[int]](lambda: [0, 0])
    for outcome in outcomes:
        said, truth = outcome.pre_label.prediction.annotations, examples[outcome.item.id].truth
        right = sum(right_ones(subject.task, said, truth, subject.acceptable))
        for part in (part_of(outcome.item), ALL):
            counts[part][0] += 2 * right
            counts[part][1] += len(said) + len(truth)
    return {part: twice / total if total else 1.0 for part, (twice, total) in sorted(counts.items())}
