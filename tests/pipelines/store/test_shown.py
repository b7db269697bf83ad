"""Tests that what a review changes is stored with it, once, and never without it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.geometry import encode_mask
from models.types import Annotation, Item, Mask, Prediction
from pipelines.errors import ConflictError, InvalidRequestError
from pipelines.review import ReviewQueue
from pipelines.store import shown
from pipelines.store.store import Store
from tests.pipelines.builders import a_labelled, a_pre_label, an_annotation


@pytest.fixture
def queue(store: Store) -> ReviewQueue:
    return ReviewQueue(store)


async def test_a_review_is_stored_with_what_it_changes(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    review = await queue.submit(
        task.id, 1, reviewer="ann", annotations=[an_annotation(label="dog", score=1.0)], seconds=4.5
    )

    [row] = await _corrections(store)
    assert (row["review_id"], row["task"], row["stream"], row["is_shown"]) == (review.id, "detection", "routed", True)
    assert (row["unchanged"], row["edited"], row["rejected"], row["added"]) == (0, 1, 0, 0)
    assert (row["errors"], row["iou"], row["wer"], row["span_f1"]) == ({"class": 1}, 1.0, None, None)
    assert (row["cost"], row["seconds"], row["is_caught"]) == (1.0, 4.5, None)
    assert row["by_label"].keys() == {"cat", "dog"}


async def test_a_blind_answer_is_held_against_the_pre_label_that_was_hidden(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="audit", is_blind=True)], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    assert task.pre_label.prediction.annotations == ()

    await queue.submit(task.id, 1, reviewer="ann", annotations=[an_annotation("mine", score=1.0)])

    [row] = await _corrections(store)
    assert (row["is_shown"], row["unchanged"], row["errors"]) == (False, 1, {})


async def test_an_answer_sent_again_writes_nothing_again(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    async def send() -> object:
        return await queue.submit(task.id, 1, reviewer="ann", annotations=[], idempotency_key="k")

    await asyncio.gather(*(send() for _ in range(5)))

    assert len(await _corrections(store)) == 1


async def test_an_answer_that_is_refused_leaves_no_correction(store: Store, run_id: str, queue: ReviewQueue) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    with pytest.raises(ConflictError):
        await queue.submit(task.id, 2, reviewer="ann", annotations=[])
    with pytest.raises(InvalidRequestError):
        await queue.submit(task.id, 1, reviewer="ann", annotations=[an_annotation(score=7.0)])

    assert await _corrections(store) == []


async def test_without_its_correction_a_review_is_not_stored_either(
    store: Store, run_id: str, queue: ReviewQueue
) -> None:
    """The last statement of the transaction fails: all of it is undone, and the task is still leased."""
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    await _execute(store, "ALTER TABLE corrections ADD CONSTRAINT told_to_fail CHECK (edited + rejected = 0)")

    with pytest.raises(DBAPIError, match="told_to_fail"):
        await queue.submit(task.id, 1, reviewer="ann", annotations=[])
    assert await _review_count(store) == 0
    await _execute(store, "ALTER TABLE corrections DROP CONSTRAINT told_to_fail")
    await queue.submit(task.id, 1, reviewer="ann", annotations=[])

    assert (await _review_count(store), len(await _corrections(store))) == (1, 1)


async def test_a_reviewer_killed_before_the_correction_is_written_leaves_no_review(
    store: Store, run_id: str, queue: ReviewQueue, postgres_url: str
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    async with store.engine.connect() as blocking:
        await blocking.execute(text("LOCK TABLE corrections IN SHARE MODE"))  # the submission stops half-way
        with _a_reviewer(postgres_url) as process:
            await _until_somebody_waits_for_corrections(store)
            process.kill()
        assert process.returncode != 0
        await blocking.rollback()

    assert (await _review_count(store), await _corrections(store)) == (0, [])
    [overview] = await store.queues()
    assert (overview.leased, overview.done) == (1, 0)


@pytest.mark.parametrize("statement", ["UPDATE corrections SET cost = 0", "DELETE FROM corrections"])
async def test_corrections_are_written_once(store: Store, run_id: str, queue: ReviewQueue, statement: str) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    await queue.submit(task.id, 1, reviewer="ann", annotations=[])

    with pytest.raises(DBAPIError, match="written once"):
        await _execute(store, statement)


async def test_large_masks_are_compared_beside_the_event_loop(store: Store, run_id: str, queue: ReviewQueue) -> None:
    prediction = Prediction(annotations=tuple(_noisy_masks(30)), size_hw=(800, 800))
    pre_label = replace(a_pre_label(), prediction=prediction)
    item = Item(id="one", media="image", uri="file:///one.png")
    await store.save([a_labelled(route="review", task="segmentation", item=item, pre_label=pre_label)], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    start = time.thread_time()  # of this thread alone, whatever else the machine does
    before = await queue._shown(task.id)
    read_s, start = time.thread_time() - start, time.thread_time()

    found = await shown.changes(before, task.pre_label.prediction.annotations)

    on_loop_s = time.thread_time() - start
    start = time.thread_time()
    assert before.changes(task.pre_label.prediction.annotations) == found
    here_s = time.thread_time() - start
    assert found is not None
    assert found["unchanged"] == 30
    assert on_loop_s < here_s / 4, (read_s, on_loop_s, here_s)


async def test_a_persons_work_is_kept_though_it_cannot_be_counted(
    store: Store, run_id: str, queue: ReviewQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """A pre-label's mask that no program can read, as an older version may have stored it."""
    broken = Annotation(id="0", label="cat", geometry=Mask(size_hw=(2, 2), counts="é"), score=0.5)
    pre_label = replace(a_pre_label(), prediction=Prediction(annotations=(broken,)))
    await store.save([a_labelled(route="review", task="segmentation", pre_label=pre_label)], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    right = Annotation(id="0", label="cat", geometry=encode_mask(np.eye(2, dtype=bool)), score=1.0)

    await queue.submit(task.id, 1, reviewer="ann", annotations=[right])

    assert (await _review_count(store), await _corrections(store)) == (1, [])
    assert "cannot be counted; its review is stored" in caplog.text


@contextmanager
def _a_reviewer(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that answers what is in the queue."""
    command, pipe = [sys.executable, "-m", "tests.pipelines.reviewers", url, "doomed", "60"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            print("go", file=process.stdin, flush=True)
            yield process
        finally:
            process.kill()


def _noisy_masks(n: int) -> list[Annotation]:
    rng = np.random.default_rng(0)
    return [
        Annotation(id=str(i), label="cat", geometry=encode_mask(rng.random((800, 800)) < 0.5), score=0.5)
        for i in range(n)
    ]


async def _until_somebody_waits_for_corrections(store: Store) -> None:
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'corrections'::regclass")
    async with asyncio.timeout(100), store.engine.connect() as connection:
        while not (await connection.execute(query)).scalar_one():
            pass


async def _corrections(store: Store) -> list[dict[str, Any]]:
    async with store.engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(text("SELECT * FROM corrections"))).mappings()]


async def _review_count(store: Store) -> int:
    async with store.engine.connect() as connection:
        return (await connection.execute(text("SELECT count(*) FROM reviews"))).scalar_one()


async def _execute(store: Store, statement: str) -> None:
    async with store.engine.begin() as connection:
        await connection.execute(text(statement))
