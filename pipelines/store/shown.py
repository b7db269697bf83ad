"""Holds what a reviewer had before them, and says what their answer changed in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, RowMapping, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Annotation, Task
from pipelines.corrections.acceptable import Acceptable, loss
from pipelines.corrections.correction import correction
from pipelines.store import rows
from pipelines.store.inserts import Row
from pipelines.store.jsonb import to_json
from pipelines.store.tables import planted, prelabels, review_tasks

logger = logging.getLogger(__name__)

_ACCEPTABLE = TypeAdapter(Acceptable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """What is right about an item whose pre-label was made wrong, and what is acceptable for it."""

    answer: tuple[Annotation, ...]
    acceptable: Acceptable


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A review task's pre-label; nothing of this ever changes.

    ``is_shown`` says whether the reviewer sees it, ``seeded`` is there where it was made wrong on purpose.
    """

    prelabel_id: int
    task: Task
    stream: str
    is_shown: bool
    annotations: tuple[Annotation, ...]
    seeded: Seeded | None

    def changes(self, answer: Sequence[Annotation]) -> Row:
        """What the answer says about the pre-label: the columns of a correction, but for whose it is."""
        found = correction(self.task, self.annotations, answer)
        counts = {name: getattr(found, name) for name in ("unchanged", "edited", "rejected", "added", "iou")}
        return counts | {
            "prelabel_id": self.prelabel_id,
            "task": self.task,
            "stream": self.stream,
            "is_shown": self.is_shown,
            "is_caught": None if self.seeded is None else self._is_caught(answer, self.seeded),
            "span_f1": found.span_f1,
            "wer": found.wer,
            "errors": found.errors,
            "by_label": to_json({label: asdict(of_label) for label, of_label in found.by_label.items()}),
            "cost": found.cost,
        }

    def _is_caught(self, answer: Sequence[Annotation], seeded: Seeded) -> bool:
        """Whether the answer is as good as right: a planted error that is overlooked makes it unacceptable."""
        return loss(self.task, answer, seeded.answer, seeded.acceptable) == 0.0


SHOWN_COLUMNS: tuple[ColumnElement[Any], ...] = (
    review_tasks.c.prelabel_id,
    prelabels.c.task,
    review_tasks.c.stream,
    review_tasks.c.is_blind,
    prelabels.c.prediction,
    planted.c.prediction.label("planted_prediction"),
    planted.c.answer.label("planted_answer"),
    planted.c.acceptable.label("planted_acceptable"),
)
SHOWN_FROM = review_tasks.join(prelabels).outerjoin(planted, planted.c.task_id == review_tasks.c.id)


def of_row(row: RowMapping, *, was_shown: bool | None = None) -> Shown:
    """What a row of SHOWN_COLUMNS says; ``was_shown`` is what a platform says instead of the task."""
    seeded = None
    if row["planted_answer"] is not None:
        seeded = Seeded(
            answer=rows.ANNOTATIONS.validate_python(row["planted_answer"]),
            acceptable=_ACCEPTABLE.validate_python(row["planted_acceptable"]),
        )
    prediction = rows.prediction(row["planted_prediction"] or row["prediction"])
    return Shown(
        prelabel_id=row["prelabel_id"],
        task=row["task"],
        stream=row["stream"],
        is_shown=not row["is_blind"] if was_shown is None else was_shown,
        annotations=prediction.annotations,
        seeded=seeded,
    )


async def shown(connection: AsyncConnection, task_id: int, *, was_shown: bool | None = None) -> Shown | None:
    """What a review task shows; None where there is no such task."""
    this: Select[Any] = select(*SHOWN_COLUMNS).select_from(SHOWN_FROM).where(review_tasks.c.id == task_id)
    found = (await connection.execute(this)).mappings().first() if 0 < task_id < 2**63 else None
    return None if found is None else of_row(found, was_shown=was_shown)


async def changes(of: Shown, answer: Sequence[Annotation]) -> Row | None:
    """``Shown.changes`` in a thread, since large masks take long; None where that fails.

    A person's work must not be lost because it cannot be counted. ``Ledger.catch_up`` tries again.
    """
    try:
        return await asyncio.to_thread(of.changes, answer)
    except Exception:
        logger.exception("what changed in pre-label %d cannot be counted; its review is stored", of.prelabel_id)
        return None
