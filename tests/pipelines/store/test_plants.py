"""Tests that pre-labels that were made wrong look like any others, count nowhere else, and are caught or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.types import Annotation, Box
from pipelines.errors import InvalidRequestError
from pipelines.review import ReviewQueue, ReviewTask
from pipelines.store.ledger import Ledger, Sensitivity
from pipelines.store.store import Store
from tests.pipelines.builders import a_labelled, a_pre_label, an_annotation

RIGHT = (an_annotation("0"), replace(an_annotation("1", label="dog"), geometry=Box(xyxy=(50, 0, 60, 10))))


@pytest.fixture
def queue(store: Store) -> ReviewQueue:
    return ReviewQueue(store)


async def reviewed(
    store: Store,
    run_id: str,
    names: Sequence[str],
    *,
    answer: Sequence[Annotation] = RIGHT,
    is_blind: bool = False,
    reviewer: str = "ann",
) -> None:
    """Items with a cat and a dog, and what a reviewer says about them."""
    queue = ReviewQueue(store)
    await store.save(
        [a_labelled(name, route="review", pre_label=a_pre_label(*RIGHT), is_blind=is_blind) for name in names],
        run_id=run_id,
    )
    for task in await queue.claim("boxes", reviewer=reviewer, n=len(names)):
        await queue.submit(task.id, task.attempt, reviewer=reviewer, annotations=answer)


async def test_a_planted_task_shows_a_wrong_pre_label_and_looks_like_any_other(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await reviewed(store, run_id, ["a"])
    await store.save([a_labelled("b", route="review", pre_label=a_pre_label(*RIGHT))], run_id=run_id)

    [planted_id] = await queue.plant("boxes", 5, rng=np.random.default_rng(0))

    tasks = {task.id == planted_id: task for task in await queue.claim("boxes", reviewer="bob", n=9)}
    planted, other = _plain(tasks[True]), _plain(tasks[False])
    assert planted.pop("annotations") != other.pop("annotations")
    assert planted == other
    assert tasks[True].item.id == "a"


async def test_whoever_gave_the_right_answer_is_not_tested_with_it(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await reviewed(store, run_id, ["a"], reviewer="ann")
    await queue.plant("boxes", 1, rng=np.random.default_rng(0))

    assert await queue.claim("boxes", reviewer="ann") == []
    assert len(await queue.claim("boxes", reviewer="bob")) == 1


async def test_an_error_is_caught_by_whoever_puts_it_right_and_not_by_whoever_agrees(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await reviewed(store, run_id, [str(n) for n in range(8)])
    assert len(await queue.plant("boxes", 8, rng=np.random.default_rng(0))) == 8

    for task in await queue.claim("boxes", reviewer="careful", n=3):
        await queue.submit(task.id, task.attempt, reviewer="careful", annotations=RIGHT)
    for task in await queue.claim("boxes", reviewer="hasty", n=4):
        as_shown = task.pre_label.prediction.annotations
        await queue.submit(task.id, task.attempt, reviewer="hasty", annotations=as_shown)

    ledger = Ledger(store)
    assert await ledger.sensitivity() == Sensitivity(caught=3, planted=7)  # the eighth is not answered yet
    assert await ledger.sensitivity(queue="boxes") == Sensitivity(caught=3, planted=7)
    assert await ledger.sensitivity(queue="masks") == Sensitivity(caught=0, planted=0)
    assert await ledger.sensitivity(reviewer="careful") == Sensitivity(caught=3, planted=3)
    assert await ledger.sensitivity(reviewer="hasty") == Sensitivity(caught=0, planted=4)


async def test_a_planted_task_counts_in_no_rate_and_gives_no_result(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await reviewed(store, run_id, ["a"])
    ledger = Ledger(store)
    rates, results = await ledger.totals(), await store.results(run_id)
    await queue.plant("boxes", 1, rng=np.random.default_rng(0))

    [task] = await queue.claim("boxes", reviewer="bob")
    await queue.submit(task.id, 1, reviewer="bob", annotations=[])

    assert await ledger.totals() == rates
    assert await ledger.totals("label") == await ledger.totals("label")
    assert await ledger.totals("stream") == [replace(rates[0], group="routed")]
    assert await store.results(run_id) == results


async def test_only_what_was_shown_and_found_right_is_made_wrong(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await reviewed(store, run_id, ["wrong"], answer=RIGHT[:1])
    await reviewed(store, run_id, ["blind"], is_blind=True)
    await store.save([a_labelled("open", route="review", pre_label=a_pre_label(*RIGHT))], run_id=run_id)

    assert await queue.plant("boxes", 9, rng=np.random.default_rng(0)) == []


async def test_each_pre_label_is_made_wrong_once(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await reviewed(store, run_id, ["a", "b"])

    planted = [await queue.plant("boxes", 5, rng=np.random.default_rng(n)) for n in range(2)]

    assert list(map(len, planted)) == [2, 0]


async def test_one_seed_plants_the_same(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await reviewed(store, run_id, [str(n) for n in range(9)])
    await queue.plant("boxes", 3, rng=np.random.default_rng(7))
    shown = [_plain(task) | {"item": task.item.id} for task in await queue.claim("boxes", reviewer="bob", n=9)]
    await _execute(store, "ALTER TABLE planted DISABLE TRIGGER written_once")
    await _execute(store, "DELETE FROM planted")
    await _execute(store, "ALTER TABLE audit_log DISABLE TRIGGER written_once")
    await _execute(store, "DELETE FROM audit_log WHERE actor = 'bob'")
    await _execute(store, "DELETE FROM review_tasks WHERE stream = 'seeded'")

    await queue.plant("boxes", 3, rng=np.random.default_rng(7))

    again = [_plain(task) | {"item": task.item.id} for task in await queue.claim("boxes", reviewer="bob", n=9)]
    assert again == shown
    assert len(again) == 3


@pytest.mark.parametrize("n", [0, 1_001])
async def test_a_number_of_no_sense_is_refused(queue: ReviewQueue, n: int) -> None:
    with pytest.raises(InvalidRequestError, match="n must be from 1"):
        await queue.plant("boxes", n, rng=np.random.default_rng(0))


async def test_what_was_planted_is_written_once(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await reviewed(store, run_id, ["a"])
    await queue.plant("boxes", 1, rng=np.random.default_rng(0))

    with pytest.raises(DBAPIError, match="written once"):
        await _execute(store, "UPDATE planted SET error = ''")


def _plain(task: ReviewTask) -> dict[str, object]:
    """What a reviewer is given, but for what tells any two tasks apart."""
    seen = asdict(task)
    for name in ("id", "item", "lease_until", "attempt"):
        del seen[name]
    seen["annotations"] = seen["pre_label"]["prediction"].pop("annotations")
    return seen


async def _execute(store: Store, statement: str) -> None:
    async with store.engine.begin() as connection:
        await connection.execute(text(statement))
