"""Names a review task as its reviewer gets it over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.types import Item, Task
from pipelines.types import PreLabel


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTask:
    """One item in a reviewer's hands until ``lease_until``; see pipelines/review.py, ReviewTask.

    Where ``has_content`` is true, ``Client.content`` gives the item's bytes. Where ``is_blind`` is true, the pre-label
    is empty because it must not be seen, not because nothing was found.
    """

    id: int
    queue: str
    item: Item
    task: Task
    pre_label: PreLabel
    has_content: bool
    is_blind: bool
    priority: float
    attempt: int
    lease_until: datetime
