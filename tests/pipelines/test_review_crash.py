"""Tests that a killed process of reviewers loses no task and answers none twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import TextClause, text

from pipelines.store.store import Store
from tests.pipelines.builders import a_labelled

_TASKS = 200
_ANSWERS_BEFORE_THE_KILL = 50
_LEASE_S = 1.5


_DROPPED_BY_THE_DOOMED = text("""
    SELECT task_id FROM audit_log AS served
    WHERE action = 'served' AND actor LIKE 'doomed-%' AND NOT EXISTS (
        SELECT FROM audit_log AS submitted
        WHERE action = 'submitted' AND submitted.task_id = served.task_id AND submitted.attempt = served.attempt
    )
""")
_ANSWERED_BY_THE_DOOMED = text("SELECT task_id FROM reviews WHERE reviewer LIKE 'doomed-%'")
_SERVED_AGAIN = text("SELECT id FROM review_tasks WHERE attempt >= 2 AND expiries >= 1")
_ALL = text("SELECT id FROM review_tasks ORDER BY id")
_ANSWERS = text("SELECT task_id FROM reviews ORDER BY task_id")
_DONE_BY_THE_LAST_ATTEMPT = text("""
    SELECT task.id FROM review_tasks AS task
    JOIN reviews ON reviews.task_id = task.id AND reviews.attempt = task.attempt
    WHERE task.state = 'done' ORDER BY task.id
""")


async def test_every_task_is_reviewed_exactly_once_though_one_of_two_processes_is_killed(
    store: Store, run_id: str, postgres_url: str
) -> None:
    await store.save([a_labelled(str(i), route="review") for i in range(_TASKS)], run_id=run_id)

    with _reviewers(postgres_url, "doomed") as doomed, _reviewers(postgres_url, "other") as other:
        assert [_line(doomed), _line(other)] == ["ready", "ready"]
        _go(doomed)
        for answers in range(1, _ANSWERS_BEFORE_THE_KILL + 1):
            assert _line(doomed).isdigit()
            if answers == _ANSWERS_BEFORE_THE_KILL - 10:
                _go(other)  # only now, so that it cannot empty the queue before the kill
        doomed.kill()
        status = doomed.wait(timeout=200)
        _, errors = other.communicate(timeout=300)

    # The kill happened, after some answers and with tasks in hand, and these were served again.
    dropped = await _ids(store, _DROPPED_BY_THE_DOOMED)
    assert status == -signal.SIGKILL
    assert len(await _ids(store, _ANSWERED_BY_THE_DOOMED)) >= _ANSWERS_BEFORE_THE_KILL
    assert dropped
    assert set(dropped) <= set(await _ids(store, _SERVED_AGAIN))
    # Nothing was lost and nothing was answered twice.
    assert other.returncode == 0, errors
    everything = await _ids(store, _ALL)
    assert len(everything) == _TASKS
    assert await _ids(store, _ANSWERS) == everything
    assert await _ids(store, _DONE_BY_THE_LAST_ATTEMPT) == everything


@contextmanager
def _reviewers(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process of reviewers; it opens the store, says "ready" and waits for a line."""
    command = [sys.executable, "-m", "tests.pipelines.reviewers", url, name, str(_LEASE_S)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _go(process: subprocess.Popen[str]) -> None:
    print("go", file=process.stdin, flush=True)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line or process.stderr is None, process.stderr.read()
    return line


async def _ids(store: Store, query: TextClause) -> list[int]:
    async with store.engine.connect() as connection:
        return list((await connection.execute(query)).scalars())
