"""Tests that a drop's run labels every item once, through failures, stops, repeats and outages."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest
from sqlalchemy import text

from models.errors import ModelError
from models.types import Annotation, Item, TextSpan
from pipelines.batch import Batch
from pipelines.errors import ConflictError, StoreUnavailableError
from pipelines.prelabel import Request
from pipelines.progress import Progress
from pipelines.sources.source import Source
from pipelines.store.drops import Drops
from pipelines.store.listing import Listing
from pipelines.store.rows import item_id
from pipelines.store.store import Store
from pipelines.store.values import RunStatus
from pipelines.types import Failed, Failure, Labelled, Outcome
from tests.pipelines.builders import a_decision, a_labelled, a_pre_label

T = TypeVar("T")


@dataclass
class Listed:
    """A source that lists what a test says."""

    all: Sequence[Item | Failed]
    name: str = "a drop"

    def identity(self) -> dict[str, str]:
        return {"kind": "test"}

    def entries(self) -> Iterator[Item | Failed]:
        yield from self.all


@dataclass
class Words:
    """Labels texts by their length, and fails as a test says; counts how often each item was labelled."""

    fails: Callable[[Item, int], str | None] = lambda item, times: None
    at_once: int = 8
    times: Counter[str] = field(default_factory=Counter)
    during: Callable[[Item], None] = lambda item: None

    async def label(self, request: Request) -> Outcome:
        item = request.item
        self.times[item.id] += 1
        await asyncio.sleep(0)
        self.during(item)
        if code := self.fails(item, self.times[item.id]):
            return Failed(item=item, task="ner", failure=Failure(code=code, message=f"told to: {code}"))
        return words(item)


def words(item: Item) -> Labelled:
    said = item.text or ""
    found = (Annotation(id="0", label="word", geometry=TextSpan(start=0, end=len(said)), score=0.9),) if said else ()
    pre_label = a_pre_label(*found)
    provenance = replace(pre_label.provenance, item_digest=hashlib.sha256(said.encode()).hexdigest())
    pre_label = replace(pre_label, provenance=provenance)
    decision = a_decision("review" if len(said) > 20 else "accept")
    return replace(a_labelled(item=item, task="ner", pre_label=pre_label), decision=decision)


def texts(count: int, *, start: int = 0) -> list[Item]:
    return [Item(id=f"t{n:04}", media="text", text=f"text number {n}") for n in range(start, start + count)]


async def a_run(store: Store) -> str:
    run_id = uuid.uuid4().hex
    await Drops(store).begin(run_id, name="a drop", task="ner", source={"kind": "test"}, fingerprint={})
    return run_id


async def work(
    store: Store,
    run_id: str,
    labels: Words,
    source: Source | None = None,
    *,
    on_begin: Callable[[Batch], None] = lambda _: None,
    patience_s: float = 60.0,
) -> tuple[RunStatus, Progress]:
    async with Drops(store).hold(run_id, worker="test") as attempt:
        batch = Batch(run_id, "ner", source=source, store=store, labels=labels, attempt=attempt, patience_s=patience_s)
        on_begin(batch)
        return await batch.work(), batch.progress


async def outcomes(store: Store, run_id: str) -> dict[str, Outcome]:
    results = await store.results(run_id, limit=100_000)
    assert len({result.outcome.item.id for result in results}) == len(results)
    return {result.outcome.item.id: result.outcome for result in results}


async def test_every_item_of_a_drop_is_labelled_once_and_what_needs_a_person_is_queued(store: Store) -> None:
    run_id, labels = await a_run(store), Words()
    items = [*texts(300), Item(id="long", media="text", text="a text of more than twenty signs")]

    status, progress = await work(store, run_id, labels, Listed(items))

    assert status == "done"
    assert await outcomes(store, run_id) == {item.id: words(item) for item in items}
    assert set(labels.times.values()) == {1}
    assert (progress.listed, progress.finished, progress.labels, progress.review) == (301, 301, 301, 1)
    assert [queue.pending for queue in await store.queues()] == [1]


async def test_a_run_that_was_stopped_goes_on_where_it_was(store: Store) -> None:
    run_id, labels, items = await a_run(store), Words(), texts(500)
    batches: list[Batch] = []
    labels.during = lambda item: batches[0].stop() if item.id == "t0100" else None

    status, _ = await work(store, run_id, labels, Listed(items), on_begin=batches.append)
    stored = len(await outcomes(store, run_id))
    labels.during = lambda item: None
    again, progress = await work(store, run_id, labels, Listed(items))

    assert (status, again) == ("stopped", "done")
    assert 100 < stored < 130
    assert set(labels.times.values()) == {1}
    assert set(await outcomes(store, run_id)) == {item.id for item in items}
    assert (progress.listed, progress.labels, progress.stored) == (500, 500, 500 - stored)


async def test_a_failure_that_may_be_over_in_a_moment_is_tried_again_and_others_are_not(store: Store) -> None:
    codes = {"t0001": "timeout", "t0002": "unreadable_image"}
    labels = Words(fails=lambda item, times: codes.get(item.id) if times < 3 else None)
    run_id = await a_run(store)

    status, progress = await without_waiting(store, work(store, run_id, labels, Listed(texts(5))))

    found = await outcomes(store, run_id)
    assert status == "done"
    assert (labels.times["t0001"], labels.times["t0002"]) == (3, 1)
    assert isinstance(found["t0001"], Labelled)
    assert found["t0002"] == Failed(
        item=texts(5)[2], task="ner", failure=Failure(code="unreadable_image", message="told to: unreadable_image")
    )
    assert (progress.failed, progress.retrying, progress.labels) == (1, 0, 4)


async def without_waiting(store: Store, working: Awaitable[T]) -> T:
    """What the work gives; meanwhile the time of every item that waits to be tried again has come."""

    async def hurry() -> None:
        while True:
            async with store.engine.begin() as connection:
                await connection.execute(text("UPDATE failures SET retry_s = 0 WHERE retry_s > 0"))
            await asyncio.sleep(0.01)

    hurrying = asyncio.create_task(hurry())
    try:
        return await working
    finally:
        hurrying.cancel()


async def test_what_always_fails_is_given_up_after_four_attempts_and_can_be_driven_again(store: Store) -> None:
    run_id = await a_run(store)
    labels = Words(fails=lambda item, times: "worker_lost" if item.id == "t0001" else None)
    await without_waiting(store, work(store, run_id, labels, Listed(texts(3))))

    given_up = (await outcomes(store, run_id))["t0001"]
    driven = await Drops(store).redrive(run_id, codes=["worker_lost"])
    healed = Words()
    _, progress = await work(store, run_id, healed)

    assert isinstance(given_up, Failed)
    assert (given_up.failure.code, given_up.failure.attempts, labels.times["t0001"]) == ("worker_lost", 4, 4)
    assert driven == 1
    assert healed.times == {"t0001": 1}
    assert (progress.failed, progress.labels) == (0, 3)


async def test_the_errors_of_a_run_are_listed_by_their_codes(store: Store) -> None:
    run_id = await a_run(store)
    labels = Words(fails=lambda item, times: {"t0001": "too_large", "t0003": "empty"}.get(item.id))

    await work(store, run_id, labels, Listed(texts(5)))

    counts = await Drops(store).error_counts(run_id)
    assert [(error.code, error.items, error.retrying) for error in counts] == [("empty", 1, 0), ("too_large", 1, 0)]
    [error] = await Drops(store).errors(run_id, code="empty")
    assert (error.item_id, error.failure.code, error.is_retried) == ("t0003", "empty", False)
    assert [error.item_id for error in await Drops(store).errors(run_id)] == ["t0001", "t0003"]


async def test_a_repeated_id_and_a_bad_entry_fail_alone_and_stay_what_they_are_when_listed_again(store: Store) -> None:
    run_id = await a_run(store)
    bad = Failed(
        item=Item(id="line 7", media="text"), task="ner", failure=Failure(code="invalid_entry", message="no JSON")
    )
    entries = [*texts(5), Item(id="t0003", media="text", text="another text"), bad, *texts(1)]

    await work(store, run_id, Words(), Listed(entries))
    async with Drops(store).hold(run_id, worker="a second listing") as attempt:
        again = await Listing(store).add(run_id, list(enumerate(entries)), task="ner", attempt=attempt)

    codes = {key: one.failure.code for key, one in (await outcomes(store, run_id)).items() if isinstance(one, Failed)}
    assert codes == {
        "line 7": "invalid_entry",
        "t0003 (again, as entry 6)": "repeated_id",
        "t0000 (again, as entry 8)": "repeated_id",
    }
    assert len(await outcomes(store, run_id)) == 8
    assert (again.items, again.failed) == (0, 0)


async def test_a_second_worker_is_refused_while_the_first_works(store: Store) -> None:
    run_id = await a_run(store)

    async with Drops(store).hold(run_id, worker="the first"):
        with pytest.raises(ConflictError, match="worked on by the first"):
            async with Drops(store).hold(run_id, worker="the second"):
                pass

    async with Drops(store).hold(run_id, worker="the third") as attempt:
        assert attempt == 2


async def test_what_a_worker_stores_after_another_has_taken_over_is_refused(store: Store) -> None:
    run_id = await a_run(store)
    await work(store, run_id, Words(), Listed(texts(1)))
    async with Drops(store).hold(run_id, worker="the second"):
        pass

    with pytest.raises(ConflictError, match="somebody else goes on"):
        await store.save([words(texts(1)[0])], run_id=run_id, attempt=1)


async def test_somebody_else_can_end_a_run(store: Store) -> None:
    run_id = await a_run(store)
    endless, begun = Words(fails=lambda item, times: "timeout"), asyncio.Event()
    endless.during = lambda item: begun.set()

    working = asyncio.create_task(work(store, run_id, endless, Listed(texts(3))))
    await begun.wait()
    await Drops(store).stop(run_id)
    status, _ = await working

    assert status == "cancelled"


async def test_a_store_that_is_away_for_a_while_costs_nothing(
    store: Store, block_database: Callable[[bool], None]
) -> None:
    run_id, items = await a_run(store), texts(400)
    labels, outage = Words(), list[bool]()

    def cut(item: Item) -> None:
        if item.id == "t0100" and not outage:
            outage.append(True)
            block_database(True)
            asyncio.get_running_loop().call_later(1.0, block_database, False)

    labels.during = cut
    status, _ = await work(store, run_id, labels, Listed(items))

    assert outage
    assert status == "done"
    assert set(await outcomes(store, run_id)) == {item.id for item in items}
    assert set(labels.times.values()) == {1}


async def test_a_store_that_stays_away_ends_the_run_with_its_error(
    store: Store, block_database: Callable[[bool], None]
) -> None:
    run_id, labels = await a_run(store), Words()
    labels.during = lambda item: block_database(True) if item.id == "t0010" else None

    with pytest.raises(StoreUnavailableError):
        await work(store, run_id, labels, Listed(texts(50)), patience_s=0.5)
    block_database(False)


async def test_a_model_that_is_lost_ends_the_run_with_its_error(store: Store) -> None:
    @dataclass
    class Lost(Words):
        async def label(self, request: Request) -> Outcome:
            raise ModelError("model_stopped", "the device is lost")

    with pytest.raises(ModelError, match="the device is lost"):
        await work(store, await a_run(store), Lost(), Listed(texts(5)))


async def test_a_listing_that_was_cut_off_is_completed(store: Store) -> None:
    @dataclass
    class CutOff(Listed):
        def entries(self) -> Iterator[Item | Failed]:
            yield from self.all[:300]
            raise OSError("the folder went away")

    run_id, items, labels = await a_run(store), texts(700), Words()
    with pytest.raises(OSError, match="went away"):
        await work(store, run_id, labels, CutOff(items))

    status, progress = await work(store, run_id, labels, Listed(items))

    assert status == "done"
    assert (progress.listed, progress.finished) == (700, 700)
    assert set(await outcomes(store, run_id)) == {item.id for item in items}


async def test_a_listing_that_was_cut_off_is_completed_where_the_folder_has_changed_since(store: Store) -> None:
    labels = Words()

    @dataclass
    class Never(Words):
        async def label(self, request: Request) -> Outcome:
            return await asyncio.Future()

    @dataclass
    class CutOff(Listed):
        def entries(self) -> Iterator[Item | Failed]:
            yield from self.all[:600]
            raise OSError("the folder went away")

    @dataclass
    class Late(Listed):
        def entries(self) -> Iterator[Item | Failed]:
            while len(labels.times) < 300:  # of what was listed before: the feed is far beyond the first places
                time.sleep(0.001)
            yield from self.all

    run_id, items = await a_run(store), texts(700)
    with pytest.raises(OSError, match="went away"):
        await work(store, run_id, Never(), CutOff(items))
    new = [replace(item, id=f"0-{item.id}", text=f"a new {item.text}") for item in texts(50)]  # which sort first

    status, progress = await work(store, run_id, labels, Late([*new, *items[300:]]))

    listed = set(await outcomes(store, run_id))
    assert status == "done"
    assert {item.id for item in (*new, *items[300:])} <= listed
    assert progress.listed == progress.finished == len(listed)
    assert set(labels.times.values()) == {1}


async def test_a_part_of_the_listing_may_be_added_twice_and_not_by_who_was_overtaken(store: Store) -> None:
    run_id, listing = await a_run(store), Listing(store)
    part = list(enumerate([*texts(5), texts(1)[0]]))  # the last one has the first one's id
    async with Drops(store).hold(run_id, worker="first") as first:
        added = await listing.add(run_id, part, task="ner", attempt=first)
        again = await listing.add(run_id, part, task="ner", attempt=first)
    async with Drops(store).hold(run_id, worker="second") as second:
        by_second = await listing.add(run_id, part, task="ner", attempt=second)
        with pytest.raises(ConflictError, match="somebody else goes on"):
            await listing.add(run_id, part, task="ner", attempt=first)

    assert (added.items, added.failed) == (6, 1)
    assert (again.items, again.failed, by_second.items) == (0, 0, 0)
    assert await listing.count(run_id) == 6


async def test_items_with_very_long_ids_are_done(store: Store) -> None:
    run_id, long = await a_run(store), "x" * 3_000
    items = [Item(id=f"{long}{n}", media="text", text=str(n)) for n in range(3)]

    status, progress = await work(store, run_id, Words(), Listed(items))

    assert (status, progress.finished, progress.labels) == ("done", 3, 3)
    assert item_id(item_id(items[0].id)) == item_id(items[0].id)


async def test_labelling_begins_before_the_listing_ends(store: Store) -> None:
    labels, seen_while_listing = Words(), list[int]()

    @dataclass
    class Slow(Listed):
        def entries(self) -> Iterator[Item | Failed]:
            yield from self.all
            while not labels.times:
                pass
            seen_while_listing.append(len(labels.times))

    await work(store, await a_run(store), labels, Slow(texts(200)))

    assert seen_while_listing


async def test_a_batch_that_is_cancelled_in_the_moment_when_something_was_stored_ends(store: Store) -> None:
    for turns in range(6):
        batch = Batch("run", "ner", source=None, store=store, labels=Words(), attempt=1)
        looking = asyncio.create_task(batch._look())
        await asyncio.sleep(0)
        batch._something.set()
        for _ in range(turns):
            await asyncio.sleep(0)

        if looking.cancel():  # it had not ended yet
            await asyncio.wait([looking])
            assert looking.cancelled()
