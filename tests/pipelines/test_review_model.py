"""Tests the review queue against a model of it in memory, over random histories."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from pipelines.errors import ConflictError
from pipelines.review import ReviewQueue
from pipelines.store.store import Store
from tests.pipelines.builders import a_labelled

_MAX_EXPIRIES = 2
_State = Literal["pending", "leased", "expired", "done", "dead"]
_STATE_AFTER: dict[str, _State] = {"submit": "done", "release": "pending", "heartbeat": "leased"}
_reviewers = st.sampled_from(["ann", "bob"])


@dataclass(kw_only=True)
class _Task:
    """What the model knows of a task."""

    name: str
    priority: float
    id: int | None = None
    state: _State = "pending"
    attempt: int = 0
    expiries: int = 0
    owner: str = ""
    reviews: int = 0


class _History(RuleBasedStateMachine):
    """Does the same to the real queue and to the model; every history has a queue of its own."""

    runner: asyncio.Runner
    store: Store
    run_id: str
    histories = 0

    def __init__(self) -> None:
        super().__init__()
        _History.histories += 1
        self.queue_name = f"queue-{_History.histories}"
        self.queue = ReviewQueue(self.store, max_expiries=_MAX_EXPIRIES)
        self.tasks: list[_Task] = []

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    @rule(uncertainty=st.sampled_from([0.1, 0.5, 0.9]))
    def enqueue(self, uncertainty: float) -> None:
        name = f"{self.queue_name}/{len(self.tasks)}"
        labelled = a_labelled(name, route="review", queue=self.queue_name, uncertainty=uncertainty)
        self.wait(self.store.save([labelled], run_id=self.run_id))
        self.tasks.append(_Task(name=name, priority=uncertainty))

    @rule(reviewer=_reviewers, n=st.integers(1, 3))
    def claim(self, reviewer: str, n: int) -> None:
        for task in self.tasks:
            if task.state == "expired" and task.expiries + 1 >= _MAX_EXPIRIES:
                task.state, task.expiries = "dead", task.expiries + 1
        free = [task for task in self.tasks if task.state in ("pending", "expired")]
        expected = sorted(free, key=lambda task: -task.priority)[:n]

        served = self.wait(self.queue.claim(self.queue_name, reviewer=reviewer, n=n))

        assert [task.item.id for task in served] == [task.name for task in expected]
        for real, task in zip(served, expected, strict=True):
            task.expiries += task.state == "expired"
            task.id, task.state, task.owner, task.attempt = real.id, "leased", reviewer, task.attempt + 1
            assert real.attempt == task.attempt

    @rule()
    def let_leases_run_out(self) -> None:
        self.wait(self._expire())
        for task in self.tasks:
            if task.state == "leased":
                task.state = "expired"

    @precondition(lambda self: any(task.id for task in self.tasks))
    @rule(data=st.data(), reviewer=_reviewers, action=st.sampled_from(["submit", "release", "heartbeat"]))
    def act(self, data: st.DataObject, reviewer: str, action: str) -> None:
        task = data.draw(st.sampled_from([task for task in self.tasks if task.id]), label="task")
        attempt = data.draw(st.integers(max(1, task.attempt - 1), task.attempt), label="attempt")
        may = task.state == "leased" and (task.owner, task.attempt) == (reviewer, attempt)

        try:
            self.wait(self._do(action, task.id or 0, attempt, reviewer))
        except ConflictError as err:
            assert err.code == "stale_lease"
            assert not may
        else:
            assert may
            task.state = _STATE_AFTER[action]
            task.reviews += action == "submit"

    @invariant()
    def the_queue_is_as_the_model_says(self) -> None:
        states = {"expired": "leased"}
        expected = [
            (task.name, states.get(task.state, task.state), task.attempt, task.expiries, task.reviews)
            for task in self.tasks
        ]

        assert self.wait(self._rows()) == expected

    async def _do(self, action: str, task_id: int, attempt: int, reviewer: str) -> None:
        match action:
            case "submit":
                await self.queue.submit(task_id, attempt, reviewer=reviewer, annotations=[])
            case "release":
                await self.queue.release(task_id, attempt, reviewer=reviewer)
            case _:
                await self.queue.heartbeat(task_id, attempt, reviewer=reviewer)

    async def _expire(self) -> None:
        statement = "UPDATE review_tasks SET lease_until = now() WHERE queue = :queue AND state = 'leased'"
        async with self.store.engine.begin() as connection:
            await connection.execute(text(statement), {"queue": self.queue_name})

    async def _rows(self) -> list[tuple[Any, ...]]:
        query = text("""
            SELECT item_id, state, attempt, expiries, (SELECT count(*) FROM reviews WHERE task_id = task.id)
            FROM review_tasks AS task JOIN prelabels ON prelabels.id = prelabel_id
            WHERE task.queue = :queue ORDER BY task.id
        """)
        async with self.store.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(query, {"queue": self.queue_name})]


def test_every_history_of_the_queue_is_one_that_the_model_allows(postgres_url: str) -> None:
    with asyncio.Runner() as runner:
        opening = Store.open(postgres_url)
        _History.runner = runner
        _History.store = runner.run(opening.__aenter__())
        _History.run_id = runner.run(_History.store.start_run("histories"))

        run_state_machine_as_test(
            _History,
            settings=settings(
                max_examples=25,
                stateful_step_count=25,
                database=None,
                derandomize=True,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )

        runner.run(opening.__aexit__(None, None, None))
