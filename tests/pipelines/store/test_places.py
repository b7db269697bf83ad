"""Tests that blind tasks are spread over their queue like any others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.review import ReviewQueue
from pipelines.store.places import place
from pipelines.store.store import Store
from pipelines.types import Labelled
from tests.pipelines.builders import a_labelled

_OTHERS, _AUDITS = 3, 1  # to one another, in the queue
_BATCH = 64


@given(st.floats(0, 1, exclude_max=True), st.lists(st.floats(0, 1), max_size=20))
def test_a_place_is_a_priority_within_the_others_or_beyond_them(draw: float, others: list[float]) -> None:
    priority = place(draw, np.array(others))

    ahead = sum(other > priority for other in others)
    level = sum(other >= priority for other in others)
    assert 0.0 <= priority <= 1.0
    assert ahead <= draw * (len(others) + 1) + 1e-9
    assert level + 1 >= draw * (len(others) + 1) - 1e-9


def test_alone_in_a_queue_a_task_is_anywhere() -> None:
    assert [place(draw, np.array([])) for draw in (0.0, 0.25, 0.75)] == [1.0, 0.75, 0.25]


@pytest.mark.parametrize("trials", [2_000, pytest.param(50_000, marks=pytest.mark.statistics)])
def test_each_gap_between_the_others_is_as_likely(trials: int) -> None:
    rng = np.random.default_rng(0)
    others = rng.beta(5, 2, 9)  # most are urgent

    ranks = [int(sum(others > place(draw, others))) for draw in rng.random(trials)]

    assert _p_value(stats.chisquare(np.bincount(ranks, minlength=10))) > 0.001


@pytest.mark.parametrize("batches", [12, pytest.param(60, marks=pytest.mark.statistics)])
async def test_audits_lie_anywhere_in_the_queue(store: Store, run_id: str, batches: int) -> None:
    p_value, _ = await _ranks_of_audits(store, run_id, batches, is_blind=True)

    assert p_value > 0.001


async def test_by_their_uncertainty_audits_lie_at_the_end(store: Store, run_id: str) -> None:
    """The negative control: audits are of what the model is sure of, and the test above sees it."""
    p_value, ranks = await _ranks_of_audits(store, run_id, 12, is_blind=False)

    assert p_value < 1e-9
    assert ranks.min() > 0.7


async def test_only_the_tasks_of_its_own_queue_place_a_task(store: Store, run_id: str) -> None:
    low = [a_labelled(f"low{n}", route="review", queue="low", uncertainty=0.01) for n in range(40)]
    high = [a_labelled(f"high{n}", route="review", queue="high", uncertainty=0.99) for n in range(40)]
    await store.save([*low, *high], run_id=run_id)

    await store.save([a_labelled("audit", route="audit", queue="high", is_blind=True)], run_id=run_id)

    tasks = await ReviewQueue(store).claim("high", reviewer="ann", n=100)
    [audit] = [task for task in tasks if task.is_blind]
    assert len(tasks) == 41
    assert audit.priority > 0.5 or tasks[-1] == audit  # one gap of 41 lies below


async def test_the_place_of_a_task_does_not_follow_from_its_uncertainty(store: Store, run_id: str) -> None:
    """Two stores of the same items that differ in the audits' uncertainty alone give the same places."""
    other = await store.start_run("another drop")
    for run, uncertainty, queue in ((run_id, 0.01, "one"), (other, 0.99, "two")):
        shown = [a_labelled(f"r{n}", route="review", queue=queue, uncertainty=n / 20) for n in range(20)]
        audits = [
            a_labelled(f"a{n}", route="audit", queue=queue, uncertainty=uncertainty, is_blind=True) for n in range(200)
        ]
        await store.save([*shown, *audits], run_id=run)

    one, two = [
        sorted(task.priority for task in await ReviewQueue(store).claim(queue, reviewer="ann", n=300) if task.is_blind)
        for queue in ("one", "two")
    ]

    assert _p_value(stats.ks_2samp(one, two)) > 0.001


async def _ranks_of_audits(store: Store, run_id: str, batches: int, *, is_blind: bool) -> tuple[float, np.ndarray]:
    """Where audits stand in a queue of uncertain items, as shares of its length; and a test that they are uniform."""
    rng = np.random.default_rng(batches)
    for batch in range(batches):
        await store.save([_drawn(f"{batch}-{n}", rng, is_blind) for n in range(_BATCH)], run_id=run_id)
    queue, tasks = ReviewQueue(store), []
    while page := await queue.claim("boxes", reviewer="ann", n=1_000):
        tasks += page
    assert len(tasks) == batches * _BATCH
    ranks = np.array([(n + 0.5) / len(tasks) for n, task in enumerate(tasks) if task.item.id.endswith("audit")])
    assert len(ranks) > 100
    return _p_value(stats.kstest(ranks, "uniform")), ranks


def _drawn(name: str, rng: np.random.Generator, is_blind: bool) -> Labelled:
    """A sure item that is audited, or an unsure one that is reviewed."""
    if rng.random() < _AUDITS / (_AUDITS + _OTHERS):
        return a_labelled(f"{name}-audit", route="audit", uncertainty=rng.uniform(0.0, 0.2), is_blind=is_blind)
    return a_labelled(name, route="review", uncertainty=rng.uniform(0.3, 1.0))


def _p_value(result: Any) -> float:  # scipy's results have no types that a checker knows
    return result.pvalue
