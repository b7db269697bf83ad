"""States what turns a pre-label into a decision."""

from __future__ import annotations

from typing import Protocol

from models.types import Item, Task
from pipelines.types import Decision, PreLabel


class Policy(Protocol):
    """What turns a pre-label into a decision. It decides the same about the same item whenever it is asked."""

    @property
    def id(self) -> str: ...

    def decide(self, item: Item, task: Task, pre_label: PreLabel) -> Decision: ...
