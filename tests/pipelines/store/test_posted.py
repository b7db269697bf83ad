"""Tests that a run which was posted is taken by one worker at a time, and ends as its last attempt says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from models.types import Task
from pipelines.errors import ConflictError, NotFoundError
from pipelines.progress import Progress
from pipelines.store.drops import Drops
from pipelines.store.listing import Listing
from pipelines.store.posted import PostedRuns
from pipelines.store.store import Store
from pipelines.store.values import Run
from tests.pipelines.builders import a_failed, an_item

TEXTS: Sequence[Task] = ["ner"]


async def post(store: Store, *run_ids: str) -> PostedRuns:
    posted = PostedRuns(store)
    for run_id in run_ids:
        assert await posted.post(run_id, name="a drop", task="ner", source={"drop": "/drop"})
    return posted


async def take(posted: PostedRuns, run_id: str) -> Run | None:
    async with posted.take(run_id, worker="a worker") as run:
        return run


async def test_posted_runs_wait_oldest_first_and_only_for_those_who_have_their_task(store: Store) -> None:
    posted = await post(store, "first", "second")
    await posted.post("images", name="a drop", task="detection", source={})

    assert await posted.to_work_on(TEXTS) == ["first", "second"]
    assert await posted.to_work_on([]) == []


async def test_an_id_that_is_taken_is_not_posted_again(store: Store) -> None:
    posted = await post(store, "one")
    await store.start_run("online", run_id="two")

    assert not await posted.post("one", name="another drop", task="ner", source={"drop": "/other"})
    assert not await posted.post("two", name="another drop", task="ner", source={"drop": "/other"})
    assert (await store.run("one")).source == {"drop": "/drop"}


async def test_a_run_of_the_command_line_is_nobody_elses(store: Store) -> None:
    posted = await post(store)
    await Drops(store).begin("mine", name="a drop", task="ner", source={}, fingerprint={})

    assert await posted.to_work_on(TEXTS) == []
    assert await take(posted, "mine") is None
    with pytest.raises(NotFoundError):
        await posted.redrive("mine", codes=["timeout"])


async def test_one_of_many_takes_a_run(store: Store) -> None:
    posted, release = await post(store, "one"), asyncio.Event()
    took = list[Run | None]()

    async def worker(name: str) -> None:
        async with posted.take("one", worker=name) as run:
            took.append(run)
            if len(took) == 4:
                release.set()
            await release.wait()

    await asyncio.gather(*map(worker, "abcd"))

    assert [run.attempt for run in took if run is not None] == [1]


async def test_a_run_whose_worker_is_gone_is_taken_again_as_another_attempt(store: Store) -> None:
    posted = await post(store, "one")

    first, second = await take(posted, "one"), await take(posted, "one")
    assert first is not None
    await posted.finish(first, status="failed", reason="it came too late")

    assert second is not None
    assert (first.attempt, second.attempt, second.status) == (1, 2, "running")
    run = await store.run("one")
    assert (run.status, run.reason) == ("running", None)


async def test_what_has_ended_is_not_taken(store: Store) -> None:
    posted = await post(store, "one")
    run = await take(posted, "one")
    assert run is not None
    await posted.finish(run, status="failed", reason="the drop is gone")

    assert await take(posted, "one") is None
    assert await posted.to_work_on(TEXTS) == []
    ended = await store.run("one")
    assert (ended.status, ended.reason, ended.is_over) == ("failed", "the drop is gone", True)


async def test_a_run_that_waits_is_cancelled_at_once_and_one_without_its_worker_when_it_is_looked_at(
    store: Store,
) -> None:
    posted = await post(store, "waits", "lost")
    await take(posted, "lost")

    for run_id in ("waits", "lost"):
        await Drops(store).stop(run_id)
    before = [(await store.run(run_id)).status for run_id in ("waits", "lost")]
    taken = [await take(posted, run_id) for run_id in ("waits", "lost")]

    assert (before, taken) == (["cancelled", "running"], [None, None])
    assert (await store.run("lost")).status == "cancelled"


async def test_stopping_what_is_over_changes_nothing(store: Store) -> None:
    posted = await post(store, "one")
    run = await take(posted, "one")
    assert run is not None
    await posted.finish(run, status="done")
    ended = await store.run("one")

    await Drops(store).stop("one")

    assert await store.run("one") == ended
    with pytest.raises(NotFoundError):
        await Drops(store).stop("nobody")


async def test_a_run_that_is_over_goes_on_with_what_failed_and_no_other_does(store: Store) -> None:
    posted = await post(store, "one")
    with pytest.raises(ConflictError, match="is queued"):
        await posted.redrive("one", codes=["timeout"])
    run = await take(posted, "one")
    assert run is not None
    await Listing(store).add("one", [(n, an_item(name)) for n, name in enumerate("ab")], task="ner", attempt=1)
    failed = [a_failed("a", code="timeout", task="ner"), a_failed("b", code="empty", task="ner")]
    await store.save(failed, run_id="one", attempt=1)
    with pytest.raises(ConflictError, match="is running"):
        await posted.redrive("one", codes=["timeout"])
    await Drops(store).stop("one")
    await posted.finish(run, status="cancelled")

    assert await posted.redrive("one", codes=["timeout"]) == 1

    again = await take(posted, "one")
    assert again is not None
    assert (again.attempt, again.is_stopping, again.finished_at) == (2, False, None)
    assert [item.item.id for item in await Listing(store).due("one", task="ner", limit=9)] == ["a"]


async def test_what_a_worker_tells_and_finds_is_kept_for_its_attempt_alone(store: Store) -> None:
    posted = await post(store, "one")
    old = await take(posted, "one")
    assert old is not None
    await posted.describe(old, source={"drop": "/drop", "kind": "folder"}, fingerprint={"policy": "p"})
    await posted.tell(old, Progress(listed=5, labels=3))

    told = (await store.run("one")).progress
    new = await take(posted, "one")
    await posted.tell(old, Progress(listed=7))

    assert told is not None
    assert (told["listed"], told["labels"]) == (5, 3)
    assert new is not None
    assert (new.fingerprint, new.source) == ({"policy": "p"}, {"drop": "/drop", "kind": "folder"})
    assert (await store.run("one")).progress is None


async def test_a_call_cannot_store_into_the_run_of_a_drop(store: Store) -> None:
    await post(store, "one")

    with pytest.raises(ConflictError, match="over a drop"):
        await store.start_run("online", run_id="one")

    assert (await store.run("one")).status == "queued"


async def test_the_runs_over_drops_are_found_among_those_of_calls(store: Store) -> None:
    await post(store, "one")
    for n in range(5):
        await store.start_run("online", run_id=f"call {n}")

    assert [run.id for run in await Drops(store).runs(limit=3)] == ["one"]
