"""Stands for a labeling platform: builds its answers, and reads what they have come to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from models.types import Annotation, Task
from pipelines.platform_answers import PlatformAnswer
from pipelines.store.store import Store
from tests.pipelines.builders import an_annotation

START = datetime(2026, 5, 1, tzinfo=UTC)


def at(minute: float) -> datetime:
    """A moment of the platform's clock."""
    return START + timedelta(minutes=minute)


def an_answer(
    run_id: str,
    *annotations: Annotation,
    key: str = "platform:7:1",
    item_id: str = "one",
    task: Task = "detection",
    was_shown: bool = True,
    created: float = 0,
    updated: float = 0,
    seconds: float | None = None,
    reviewer: str = "eve",
) -> PlatformAnswer:
    return PlatformAnswer(
        key=key,
        run_id=run_id,
        item_id=item_id,
        task=task,
        reviewer=reviewer,
        annotations=annotations,
        was_shown=was_shown,
        created_at=at(created),
        updated_at=at(updated),
        seconds=seconds,
    )


def a_dog(annotation_id: str = "0") -> Annotation:
    return an_annotation(annotation_id, label="dog", score=1.0)


async def tasks_of(store: Store, item_id: str = "one") -> dict[str, str]:
    """The states of an item's review tasks, by stream."""
    return {row["stream"]: row["state"] for row in await ask(store, _TASKS, item_id=item_id)}


async def counted(store: Store, item_id: str = "one") -> list[tuple[Any, ...]]:
    """Stream, reviewer, labels and whether the pre-label was shown, of the reviews that count, and of void ones not."""
    found = await ask(store, _COUNTED, item_id=item_id)
    return [
        (row["stream"], row["reviewer"], [one["label"] for one in row["annotations"]], row["is_shown"]) for row in found
    ]


async def logged(store: Store, item_id: str = "one") -> list[tuple[str, str, int]]:
    return [(row["action"], row["actor"], row["attempt"]) for row in await ask(store, _LOG, item_id=item_id)]


async def ask(store: Store, query: str, **arguments: object) -> Sequence[Any]:
    async with store.engine.connect() as connection:
        return (await connection.execute(text(query), arguments)).mappings().all()


_OF_ITEM = "FROM review_tasks AS tasks JOIN prelabels ON prelabels.id = tasks.prelabel_id"
_TASKS = f"SELECT tasks.stream, tasks.state {_OF_ITEM} WHERE item_id = :item_id"
_COUNTED = f"""
SELECT tasks.stream, reviews.reviewer, reviews.annotations, corrections.is_shown {_OF_ITEM}
JOIN reviews ON reviews.task_id = tasks.id AND void_since IS NULL
LEFT JOIN corrections ON corrections.review_id = reviews.id
WHERE item_id = :item_id ORDER BY tasks.stream
"""
_LOG = f"""
SELECT action, actor, audit_log.attempt {_OF_ITEM} JOIN audit_log ON audit_log.task_id = tasks.id
WHERE item_id = :item_id ORDER BY audit_log.id
"""
