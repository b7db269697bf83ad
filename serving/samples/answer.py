"""Shows a sample as its users see it, over HTTP and on the command line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from models.types import Task
from pipelines.sampling import Strategy

if TYPE_CHECKING:  # it brings SQLAlchemy, which a client that reads the answer does not need
    from pipelines.store.samples import Sample


class MemberAnswer(BaseModel):
    """An item that was chosen, and why; ``propensity`` is how likely it was drawn, null where a strategy chose it."""

    id: str
    run: str
    reason: str
    utility: float
    propensity: float | None
    is_queued: bool


class SampleAnswer(BaseModel):
    """A sample; ``queued`` counts the reviews that it has queued, beside those that there were already."""

    id: str
    task: Task
    run: str | None
    strategy: Strategy
    budget: int
    seed: int
    parameters: dict[str, Any]
    created_at: datetime | None
    queued: int
    items: list[MemberAnswer]


def answer(sample: Sample) -> SampleAnswer:
    """A sample as users see it."""
    return SampleAnswer(
        id=sample.id,
        task=sample.task,
        run=sample.run_id,
        strategy=sample.strategy,
        budget=sample.budget,
        seed=sample.seed,
        parameters=dict(sample.parameters),
        created_at=sample.created_at,
        queued=sum(member.is_queued for member in sample.members) if sample.created_at else 0,
        items=[
            MemberAnswer(
                id=member.id,
                run=member.run_id,
                reason=member.reason,
                utility=member.utility,
                propensity=member.propensity,
                is_queued=member.is_queued,
            )
            for member in sample.members
        ],
    )
