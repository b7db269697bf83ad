"""Tests that a review task is in one person's hands at a time and is answered once."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from pipelines.review import ReviewQueue, ReviewTask
from pipelines.store.store import Store
from pipelines.store.values import QueueOverview
from tests.pipelines.builders import a_decision, a_labelled, an_annotation


@pytest.fixture
def queue(store: Store) -> ReviewQueue:
    return ReviewQueue(store)


async def test_a_task_carries_all_that_a_reviewer_needs(store: Store, run_id: str, queue: ReviewQueue) -> None:
    labelled = replace(a_labelled(uncertainty=0.4), decision=a_decision("review", reason="cat scored 0.50"))
    await store.save([labelled], run_id=run_id)

    [task] = await queue.claim("boxes", reviewer="ann")

    assert (task.item, task.task, task.pre_label) == (labelled.item, "detection", labelled.pre_label)
    assert (task.queue, task.reason, task.priority, task.attempt) == ("boxes", "cat scored 0.50", 0.4, 1)


async def test_the_most_uncertain_comes_first_and_the_oldest_among_equals(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    uncertainties = {"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.9, "e": 0.5}
    for name, uncertainty in uncertainties.items():
        await store.save([a_labelled(name, route="review", uncertainty=uncertainty)], run_id=run_id)

    first = await queue.claim("boxes", reviewer="ann", n=3)
    rest = await queue.claim("boxes", reviewer="ann", n=9)

    assert [task.item.id for task in first + rest] == ["b", "d", "c", "e", "a"]


async def test_an_audit_has_the_priority_of_its_uncertainty_like_a_review(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await store.save([a_labelled("a", route="audit"), a_labelled("r", route="review")], run_id=run_id)

    tasks = await queue.claim("boxes", reviewer="ann", n=2)

    assert {task.priority for task in tasks} == {0.5}


async def test_a_leased_task_is_served_to_nobody_else(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await queue.claim("boxes", reviewer="ann")

    assert await queue.claim("boxes", reviewer="bob") == []


async def test_claims_at_once_never_share_a_task(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(str(i), route="review") for i in range(60)], run_id=run_id)

    claims = await asyncio.gather(*(queue.claim("boxes", reviewer=f"r{i}", n=4) for i in range(20)))

    served = [task.id for tasks in claims for task in tasks]
    assert len(served) == len(set(served)) == 60


async def test_a_queue_serves_only_its_own(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review", queue="boxes")], run_id=run_id)

    assert await queue.claim("masks", reviewer="ann") == []


async def test_a_task_whose_lease_ran_out_is_served_again(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [first] = await queue.claim("boxes", reviewer="ann", lease_s=0.01)

    second = await _next(queue, "bob")

    assert (second.id, second.attempt) == (first.id, 2)


async def test_an_answer_is_stored_beside_the_pre_label(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    answer = (an_annotation("x", label="dog", score=1.0),)

    review = await queue.submit(task.id, task.attempt, reviewer="ann", annotations=answer, seconds=12.5)

    [result] = await store.results(run_id)
    assert result.outcome == a_labelled(route="review")
    assert result.review == review
    assert (review.annotations, review.seconds, review.reviewer) == (answer, 12.5, "ann")
    assert await _overview(store) == (0, 0, 1, 0)


async def test_an_answer_may_come_as_json(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    review = await queue.submit(task.id, 1, reviewer="ann", annotations=[asdict(an_annotation())])

    assert review.annotations == (an_annotation(),)


@pytest.mark.parametrize(
    "annotations",
    [
        [{"id": "0", "label": "cat", "geometry": {"kind": "sphere"}, "score": 1.0}],
        [an_annotation(score=float("nan"))],
        [an_annotation(score=7.5)],
        [{"label": "cat"}],
        "cat",
    ],
)
async def test_annotations_that_cannot_be_read_change_nothing(
    store: Store, run_id: str, queue: ReviewQueue, annotations: object
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    with pytest.raises(InvalidRequestError) as caught:
        await queue.submit(task.id, 1, reviewer="ann", annotations=annotations)  # pyright: ignore[reportArgumentType]

    assert caught.value.code == "invalid_annotations"
    assert await _overview(store) == (0, 1, 0, 0)


async def test_an_answer_after_the_lease_ran_out_is_refused_though_nobody_took_the_task(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    await _expire_leases(store)

    with pytest.raises(ConflictError, match="the lease has run out") as caught:
        await queue.submit(task.id, task.attempt, reviewer="ann", annotations=[])

    assert caught.value.code == "stale_lease"
    assert await _overview(store) == (1, 0, 0, 0)


async def test_an_answer_after_the_task_was_served_again_is_refused(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [first] = await queue.claim("boxes", reviewer="ann")
    await _expire_leases(store)
    [second] = await queue.claim("boxes", reviewer="bob")

    with pytest.raises(ConflictError, match="served as attempt 2"):
        await queue.submit(first.id, first.attempt, reviewer="ann", annotations=[])
    await queue.submit(second.id, second.attempt, reviewer="bob", annotations=[an_annotation()])
    with pytest.raises(ConflictError, match="it is done since attempt 2"):
        await queue.submit(first.id, first.attempt, reviewer="ann", annotations=[])

    [result] = await store.results(run_id)
    assert result.review is not None
    assert result.review.reviewer == "bob"


async def test_the_same_reviewer_under_an_older_attempt_is_refused(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [first] = await queue.claim("boxes", reviewer="ann")
    await _expire_leases(store)
    await queue.claim("boxes", reviewer="ann")

    with pytest.raises(ConflictError):
        await queue.submit(first.id, first.attempt, reviewer="ann", annotations=[])


@pytest.mark.parametrize("attempt", [0, -1, 2, 2**31, 2**70])
async def test_an_attempt_that_was_never_served_is_refused(
    store: Store, run_id: str, queue: ReviewQueue, attempt: int
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    with pytest.raises(ConflictError):
        await queue.submit(task.id, attempt, reviewer="ann", annotations=[])


async def test_somebody_else_cannot_answer_a_leased_task(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    with pytest.raises(ConflictError):
        await queue.submit(task.id, task.attempt, reviewer="bob", annotations=[])


async def test_an_answer_sent_twice_under_one_key_counts_once(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    async def send() -> object:
        return await queue.submit(task.id, task.attempt, reviewer="ann", annotations=[], idempotency_key="k")

    answers = await asyncio.gather(*(send() for _ in range(5)))

    assert all(answer == answers[0] for answer in answers)
    assert await _review_count(store) == 1


async def test_a_key_that_answered_another_task_is_refused(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled("a", route="review"), a_labelled("b", route="review")], run_id=run_id)
    one, other = await queue.claim("boxes", reviewer="ann", n=2)
    await queue.submit(one.id, 1, reviewer="ann", annotations=[], idempotency_key="k")

    with pytest.raises(ConflictError) as caught:
        await queue.submit(other.id, 1, reviewer="ann", annotations=[], idempotency_key="k")

    assert caught.value.code == "key_reused"
    assert await _overview(store) == (0, 1, 1, 0)


async def test_a_key_that_comes_with_another_answer_is_refused(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    await queue.submit(task.id, 1, reviewer="ann", annotations=[], idempotency_key="k")

    with pytest.raises(ConflictError, match="another answer") as caught:
        await queue.submit(task.id, 1, reviewer="ann", annotations=[an_annotation()], idempotency_key="k")

    assert caught.value.code == "key_reused"


async def test_of_two_tasks_answered_at_once_under_one_key_one_counts(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(str(i), route="review") for i in range(5)], run_id=run_id)
    tasks = await queue.claim("boxes", reviewer="ann", n=5)

    answers = await asyncio.gather(
        *(queue.submit(task.id, 1, reviewer="ann", annotations=[], idempotency_key="k") for task in tasks),
        return_exceptions=True,
    )

    assert sorted(getattr(answer, "code", "stored") for answer in answers) == ["key_reused"] * 4 + ["stored"]
    assert await _overview(store) == (0, 4, 1, 0)


async def test_a_heartbeat_keeps_the_task(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann", lease_s=60)

    until = await queue.heartbeat(task.id, task.attempt, reviewer="ann", lease_s=600)

    assert (until - task.lease_until).total_seconds() == pytest.approx(540, abs=20)
    assert await queue.claim("boxes", reviewer="bob") == []


async def test_a_heartbeat_cannot_bring_back_a_lost_lease(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    await _expire_leases(store)

    with pytest.raises(ConflictError):
        await queue.heartbeat(task.id, task.attempt, reviewer="ann")


async def test_a_released_task_can_be_claimed_at_once(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    await queue.release(task.id, task.attempt, reviewer="ann")

    [again] = await queue.claim("boxes", reviewer="bob")
    assert (again.id, again.attempt) == (task.id, 2)


async def test_a_task_whose_lease_runs_out_too_often_is_set_aside(store: Store, run_id: str) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    queue = ReviewQueue(store, max_expiries=3)
    for attempt in (1, 2, 3):
        [task] = await queue.claim("boxes", reviewer="ann")
        assert task.attempt == attempt
        await _expire_leases(store)

    assert await queue.claim("boxes", reviewer="ann") == []
    assert await _overview(store) == (0, 0, 0, 1)


async def test_releases_do_not_count_as_expiries(store: Store, run_id: str) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    queue = ReviewQueue(store, max_expiries=1)
    for _ in range(3):
        [task] = await queue.claim("boxes", reviewer="ann")
        await queue.release(task.id, task.attempt, reviewer="ann")

    assert len(await queue.claim("boxes", reviewer="ann")) == 1


@pytest.mark.parametrize("task_id", [0, -1, 999, 2**70])
async def test_an_unknown_task_is_not_found(queue: ReviewQueue, task_id: int) -> None:
    with pytest.raises(NotFoundError):
        await queue.submit(task_id, 1, reviewer="ann", annotations=[])
    with pytest.raises(NotFoundError):
        await queue.heartbeat(task_id, 1, reviewer="ann")
    with pytest.raises(NotFoundError):
        await queue.release(task_id, 1, reviewer="ann")


@pytest.mark.parametrize("name", ["", "x" * 10_000])
async def test_a_name_that_is_empty_or_endless_is_refused(queue: ReviewQueue, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="1 to 200 characters"):
        await queue.claim("boxes", reviewer=name)
    with pytest.raises(InvalidRequestError, match="1 to 200 characters"):
        await queue.submit(1, 1, reviewer="ann", annotations=[], idempotency_key=name)


@pytest.mark.parametrize(("n", "lease_s"), [(0, 60.0), (2**70, 60.0), (1, 0.0), (1, float("nan")), (1, float("inf"))])
async def test_a_claim_of_no_sensible_size_or_time_is_refused(queue: ReviewQueue, n: int, lease_s: float) -> None:
    with pytest.raises(InvalidRequestError):
        await queue.claim("boxes", reviewer="ann", n=n, lease_s=lease_s)


async def test_the_audit_log_tells_a_tasks_story(store: Store, run_id: str) -> None:
    await store.save([a_labelled("a", route="review"), a_labelled("b", route="review", queue="q")], run_id=run_id)
    queue = ReviewQueue(store, max_expiries=1)
    [task] = await queue.claim("boxes", reviewer="ann")
    await queue.release(task.id, 1, reviewer="ann")
    await queue.claim("boxes", reviewer="bob")
    await queue.submit(task.id, 2, reviewer="bob", annotations=[])
    await queue.claim("q", reviewer="cat")
    await _expire_leases(store)
    await queue.claim("q", reviewer="dan")

    async with store.engine.connect() as connection:
        rows = await connection.execute(text("SELECT action, actor, attempt FROM audit_log ORDER BY id"))
        log = [tuple(row) for row in rows]

    assert log == [
        ("served", "ann", 1),
        ("released", "ann", 1),
        ("served", "bob", 2),
        ("submitted", "bob", 2),
        ("served", "cat", 1),
        ("buried", "clock", 1),
    ]


@pytest.mark.parametrize(
    "statement", ["UPDATE reviews SET seconds = 1", "DELETE FROM reviews", "DELETE FROM audit_log"]
)
async def test_answers_and_the_audit_log_are_written_once(
    store: Store, run_id: str, queue: ReviewQueue, statement: str
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    await queue.submit(task.id, 1, reviewer="ann", annotations=[])

    with pytest.raises(DBAPIError, match="written once"):
        async with store.engine.begin() as connection:
            await connection.execute(text(statement))


async def _expire_leases(store: Store) -> None:
    async with store.engine.begin() as connection:
        await connection.execute(text("UPDATE review_tasks SET lease_until = now() WHERE state = 'leased'"))


async def _next(queue: ReviewQueue, reviewer: str) -> ReviewTask:
    async with asyncio.timeout(100):
        while not (tasks := await queue.claim("boxes", reviewer=reviewer)):
            pass
    return tasks[0]


async def _overview(store: Store) -> tuple[int, int, int, int]:
    [queue] = await store.queues()
    assert isinstance(queue, QueueOverview)
    return queue.pending, queue.leased, queue.done, queue.dead


async def _review_count(store: Store) -> int:
    async with store.engine.connect() as connection:
        return (await connection.execute(text("SELECT count(*) FROM reviews"))).scalar_one()
