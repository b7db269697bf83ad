"""States what asks again about an item, and what it asks."""

from __future__ import annotations

from typing import Protocol

from models.types import Content, Prediction, Priority


class Predicts(Protocol):
    """The deployed models; a part of the flow's Models (pipelines/prelabel.py)."""

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction: ...


class Disagreement(Protocol):
    """One way to ask again."""

    async def measure(
        self,
        content: Content,
        prediction: Prediction,
        models: Predicts,
        *,
        priority: Priority,
        deadline_s: float | None,
    ) -> dict[str, float]:
        """Entries of the uncertainty vector, each in [0, 1]; 1 means "no idea".

        Args:
            content: the item's, as it was fetched.
            prediction: what the task's models said of it, before rules and ontology changed anything.
            models: those that are deployed.
            deadline_s: how long from now the answer is of use; None for as long as it takes.
        """
        ...
