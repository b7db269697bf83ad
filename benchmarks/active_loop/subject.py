"""States what a loop is about: where items and their truth come from, and how its model learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.types import Annotation, Item, Task
from pipelines.corrections.acceptable import Acceptable
from pipelines.policy.terms import Terms
from pipelines.policy.thresholds import ThresholdPolicy

SOURCE = "source"  # the key of items' meta that holds their part


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An item and what is right about it.

    Attributes:
        part: what kind of item it is, such as hard.
        content: a text, or the bytes of a JPEG.
        truth: all that is there, with scores of 1.
        size_hw: of an image, in pixels.
    """

    id: str
    part: str
    content: str | bytes
    truth: tuple[Annotation, ...]
    size_hw: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a model learns from an item: its content, and what a human said of it."""

    content: str | bytes
    answer: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A task with a generator that knows the truth, and a small model that has something to learn of it.

    Attributes:
        mixture: the share of each part in every drop, and in what the model is held against.
        labels: the classes that an annotator may confuse.
        base: the folder of the first weights, and of their card.
        draw: n examples of a part whose ids begin with a name.
        learn: trains the weights of a folder on, with lessons, into another folder; the last argument is a seed.
        terms: what a certificate promises.
        by_eye: thresholds that a person would take who looks at scores; they promise nothing.
        target: the quality that the comparison counts labels up to (F1).
    """

    task: Task
    mixture: dict[str, float]
    labels: tuple[str, ...]
    base: Path
    draw: Callable[[str, int, str, np.random.Generator], list[Example]]
    learn: Callable[[Path, Path, Sequence[Lesson], int], None]
    terms: Terms
    by_eye: ThresholdPolicy
    target: float
    acceptable: Acceptable = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "acceptable", self.terms.acceptable(self.task))

    def drop(self, n: int, name: str, rng: np.random.Generator) -> list[Example]:
        """n independent examples of the mixture; how many are of which part is drawn, too."""
        parts = list(self.mixture)
        counts = rng.multinomial(n, list(self.mixture.values()))
        return [
            example
            for part, count in zip(parts, counts.tolist(), strict=True)
            for example in self.draw(part, count, f"{name}-{part}", rng)
        ]


def part_of(item: Item) -> str:
    return item.meta[SOURCE]
