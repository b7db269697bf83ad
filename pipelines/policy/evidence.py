"""Names what people have said of items that were drawn at random, whatever these scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.types import Annotation, Item
from pipelines.types import PreLabel


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A member of the random sample, and what a human answered.

    ``answer`` is None where nobody could answer: the task was served again and again and set aside. ``is_shown`` says
    whether the reviewer saw this pre-label, ``rate`` the share of items that was drawn when this one was.
    ``answered_for`` is the pre-label whose review gave the answer: another one where the same content had been answered
    blind for another model, as what is right about an item does not depend on who labels it first. ``review_id`` is
    that review, ``answered_at`` when it came.
    """

    prelabel_id: int
    item: Item
    pre_label: PreLabel
    answer: tuple[Annotation, ...] | None
    is_shown: bool
    rate: float
    answered_for: int | None = None
    review_id: int | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a policy can be fitted on.

    Attributes:
        judged: of the random sample what has been reviewed, or set aside.
        pending: how many of the sample still wait for their review, or are left out because others do. Blind tasks are
            served in random order, so that these are missing at random.
        pool: other pre-labels by the same models, with their items, at random: what scores there are.
        population: how many pre-labels the pool stands for.
        until: the highest number of these; what comes later is new.
    """

    judged: Sequence[Judged]
    pending: int
    pool: Sequence[tuple[Item, PreLabel]]
    population: int
    until: int = 0
