"""Queues pre-labels that were made wrong on purpose among those that reviewers see."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from sqlalchemy import RowMapping, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Annotation, Prediction, Task
from pipelines.corrections.acceptable import ACCEPTABLE, Acceptable, loss
from pipelines.corrections.planting import Wrong
from pipelines.corrections.planting import planted as made_wrong
from pipelines.store import rows
from pipelines.store.jsonb import to_json
from pipelines.store.tables import planted, review_tasks

_PREDICTION = TypeAdapter(Prediction)
_LOOKED_AT = 20  # for each that is wanted: most are right, or nothing would be accepted

# Pre-labels that a reviewer saw and answered, the last ones first. A finding names annotations, and would tell.
_ANSWERED = text("""
SELECT prelabels.id, prelabels.task, prelabels.prediction, prelabels.uncertainty, reviews.annotations, reviews.reviewer
FROM review_tasks AS task
JOIN reviews ON reviews.task_id = task.id AND reviews.void_since IS NULL
JOIN prelabels ON prelabels.id = task.prelabel_id
WHERE task.queue = :queue AND task.state = 'done' AND NOT task.is_blind
    AND task.stream IN ('routed', 'random', 'sampled')
    AND prelabels.status = 'labels' AND prelabels.findings = '[]'
    AND NOT EXISTS (
        SELECT FROM review_tasks AS other WHERE other.prelabel_id = prelabels.id AND other.stream = 'seeded'
    )
ORDER BY task.id DESC
LIMIT :most
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A pre-label that a reviewer found right, and the wrong one that is shown in its place."""

    prelabel_id: int
    task: Task
    shown: Prediction
    error: str
    answer: tuple[Annotation, ...]
    acceptable: Acceptable
    priority: float
    not_for: str


async def plants(
    connection: AsyncConnection,
    queue: str,
    n: int,
    *,
    rng: np.random.Generator,
    acceptable: Mapping[Task, Acceptable],
) -> list[Plant]:
    """Up to ``n`` wrong pre-labels, made from right ones that were reviewed in this queue."""
    found = (await connection.execute(_ANSWERED, {"queue": queue, "most": n * _LOOKED_AT})).mappings().all()
    return await asyncio.to_thread(_made, found, n, rng, acceptable)


async def insert_plants(connection: AsyncConnection, queue: str, found: Sequence[Plant]) -> list[int]:
    """Queue them; the ids of the tasks that are new."""
    ids = list[int]()
    for plant in found:
        task = {
            "prelabel_id": plant.prelabel_id,
            "queue": queue,
            "priority": plant.priority,
            "stream": "seeded",
            "not_for": plant.not_for,
        }
        new = insert(review_tasks).values(task).on_conflict_do_nothing().returning(review_tasks.c.id)
        task_id = (await connection.execute(new)).scalar()
        if task_id is not None:
            await connection.execute(insert(planted).values(task_id=task_id, **_row(plant)))
            ids.append(task_id)
    return ids


def _made(
    found: Sequence[RowMapping], n: int, rng: np.random.Generator, acceptable: Mapping[Task, Acceptable]
) -> list[Plant]:
    labels = sorted({label for row in found for label in _labels(row)})
    made = list[Plant]()
    for place in rng.permutation(len(found)):
        if len(made) == n:
            break
        if plant := _plant(found[place], labels, rng, acceptable):
            made.append(plant)
    return made


def _plant(
    row: RowMapping, labels: Sequence[str], rng: np.random.Generator, acceptable: Mapping[Task, Acceptable]
) -> Plant | None:
    """None where the pre-label was not right, or cannot be made wrong."""
    task: Task = row["task"]
    limits = replace(acceptable.get(task, ACCEPTABLE[task]), graded=False)
    right, answer = rows.prediction(row["prediction"]), rows.ANNOTATIONS.validate_python(row["annotations"])
    if loss(task, right.annotations, answer, limits) > 0.0:
        return None
    wrong: Wrong | None = made_wrong(
        task, right.annotations, answer, acceptable=limits, labels=labels, rng=rng, size_hw=right.size_hw
    )
    if wrong is None:
        return None
    return Plant(
        prelabel_id=row["id"],
        task=task,
        shown=replace(right, annotations=wrong.annotations),
        error=wrong.error,
        answer=answer,
        acceptable=limits,
        priority=rows.priority(row["uncertainty"]),
        not_for=row["reviewer"],
    )


def _labels(row: RowMapping) -> set[str]:
    return {one["label"] for one in row["annotations"]}


def _row(plant: Plant) -> dict[str, Any]:
    return {
        "error": plant.error,
        "prediction": to_json(_PREDICTION.dump_python(plant.shown)),
        "answer": to_json(rows.ANNOTATIONS.dump_python(plant.answer)),
        "acceptable": asdict(plant.acceptable),
    }
