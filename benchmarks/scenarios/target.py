"""States what a benchmark can put its queries to, and what it learns from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from models.card import ModelCard
from models.media import MediaLimits
from models.types import Content, Task
from pipelines.policy import ThresholdPolicy


class Settings(Protocol):
    """What a benchmark needs of a configuration."""

    @property
    def models(self) -> tuple[ModelCard, ...]: ...
    @property
    def cards(self) -> Mapping[str, ModelCard]: ...
    @property
    def tasks(self) -> Mapping[Task, tuple[str, ...]]: ...
    @property
    def policies(self) -> Mapping[Task, ThresholdPolicy]: ...
    @property
    def lock_file(self) -> Path: ...
    @property
    def media(self) -> MediaLimits: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one model did: how many batches of each size, and for how many seconds each stage was busy.

    The seconds are those of all threads together. ``cost`` is what the items needed, ``padded_cost`` what the network
    computed to fill its batches, both in the unit of the model's family.
    """

    batch_sizes: dict[int, int] = field(default_factory=dict)
    busy_s: dict[str, float] = field(default_factory=dict)
    cost: float = 0.0
    padded_cost: float = 0.0

    @property
    def items(self) -> int:
        return sum(size * count for size, count in self.batch_sizes.items())

    @property
    def mean_batch(self) -> float:
        """Items in a batch, on average over the batches."""
        return self.items / max(sum(self.batch_sizes.values()), 1)

    @property
    def padding_efficiency(self) -> float | None:
        """The share of what the network computed that was not padding."""
        return self.cost / self.padded_cost if self.padded_cost else None

    def __add__(self, other: Work) -> Work:
        return Work(
            batch_sizes=dict(sorted((Counter(self.batch_sizes) + Counter(other.batch_sizes)).items())),
            busy_s={stage: self.busy_s.get(stage, 0.0) + seconds for stage, seconds in other.busy_s.items()},
            cost=self.cost + other.cost,
            padded_cost=self.padded_cost + other.padded_cost,
        )

    def since(self, before: Work) -> Work:
        return Work(
            batch_sizes=dict(Counter(self.batch_sizes) - Counter(before.batch_sizes)),
            busy_s={stage: seconds - before.busy_s.get(stage, 0.0) for stage, seconds in self.busy_s.items()},
            cost=self.cost - before.cost,
            padded_cost=self.padded_cost - before.padded_cost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    """A model as it was measured; ``weights_digest`` is "random" for random weights."""

    name: str
    version: str
    task: str
    adapter: str
    precision: str
    weights_digest: str
    config_digest: str
    max_items: int | None = None


class Target(Protocol):
    """What queries are put to."""

    @property
    def models(self) -> tuple[MeasuredModel, ...]: ...

    @property
    def at_once(self) -> int:
        """How many items it takes at a time before it sheds some."""
        ...

    async def label(self, content: Content) -> None:
        """Label one item; raises PrelabelError where it cannot."""
        ...

    def work(self) -> dict[str, Work]:
        """What each model did so far; empty where the target does not tell."""
        ...
