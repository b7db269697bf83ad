"""Checks what is read of Label Studio's database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.label_studio.stored import stored

_TABLES = """
CREATE TABLE task (id integer PRIMARY KEY, project_id integer);
CREATE TABLE prediction (id integer PRIMARY KEY, task_id integer, model_version text);
"""


def a_database(folder: Path, *, tasks: dict[int, int], predictions: list[tuple[int, str | None]]) -> Path:
    """Tasks by id with their project; predictions with their task and version."""
    file = folder / "label_studio.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(_TABLES)
        connection.executemany("INSERT INTO task VALUES (?, ?)", tasks.items())
        connection.executemany("INSERT INTO prediction (task_id, model_version) VALUES (?, ?)", predictions)
        connection.commit()
    return file


def test_predictions_are_counted_by_task_and_only_those_of_the_project(tmp_path: Path) -> None:
    file = a_database(
        tmp_path, tasks={1: 7, 2: 7, 3: 7, 4: 8}, predictions=[(1, "v1"), (2, "v1"), (2, "v2"), (2, "v1"), (4, "v9")]
    )

    found = stored(file, 7)

    assert found.tasks_by_predictions == {0: 1, 1: 1, 3: 1}
    assert (found.tasks, found.without, found.predicted, found.predictions, found.duplicates) == (3, 1, 2, 4, 2)
    assert found.versions == ("v1", "v2")


def test_a_prediction_without_a_version_is_one_of_another_version(tmp_path: Path) -> None:
    file = a_database(tmp_path, tasks={1: 7, 2: 7}, predictions=[(1, "v1"), (2, None)])

    assert stored(file, 7).versions == ("", "v1")
