"""Reads from Label Studio's own database which predictions its tasks have."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_COUNTS = """
SELECT per_task.n, count(*) FROM (
    SELECT count(prediction.id) AS n FROM task LEFT JOIN prediction ON prediction.task_id = task.id
    WHERE task.project_id = ? GROUP BY task.id
) AS per_task GROUP BY per_task.n
"""
_VERSIONS = """
SELECT DISTINCT coalesce(prediction.model_version, '') FROM prediction JOIN task ON task.id = prediction.task_id
WHERE task.project_id = ? ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """How many tasks of a project have how many predictions, and of which model versions these are."""

    tasks_by_predictions: dict[int, int]
    versions: tuple[str, ...]

    @property
    def tasks(self) -> int:
        return sum(self.tasks_by_predictions.values())

    @property
    def without(self) -> int:
        """Tasks that have no prediction."""
        return self.tasks_by_predictions.get(0, 0)

    @property
    def predicted(self) -> int:
        """Tasks that have at least one."""
        return self.tasks - self.without

    @property
    def predictions(self) -> int:
        return sum(n * tasks for n, tasks in self.tasks_by_predictions.items())

    @property
    def duplicates(self) -> int:
        """Predictions beyond the first of their task."""
        return self.predictions - self.predicted


def stored(database: Path, project_id: int) -> Stored:
    """What a project has now. Opened for reading only; nothing of Label Studio's own process is asked."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30.0)) as connection:
        counts = dict(connection.execute(_COUNTS, (project_id,)).fetchall())
        versions = tuple(row[0] for row in connection.execute(_VERSIONS, (project_id,)))
    return Stored(tasks_by_predictions=counts, versions=versions)
