"""Tests how a pool spreads items over workers, and what it makes of workers that die."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from models.errors import ConfigError, ModelError
from models.types import Item
from pipelines.prelabel import Request
from pipelines.types import Failed, Failure, Outcome
from pipelines.workers.pool import Crew, WorkerLostError, WorkerPool

BATCH = 4


@dataclass
class Site:
    """What the workers of a test have in common: what they do, and what became of it."""

    deadly: frozenset[str] = frozenset()
    digests: Callable[[int], Mapping[str, str]] = lambda number: {"model": "w"}
    dies_at_start: Callable[[int], bool] = lambda number: False
    gate: asyncio.Event | None = None
    hired: list[SiteWorker] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    batches: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    deaths: int = 0

    def hire(self) -> SiteWorker:
        worker = SiteWorker(self, len(self.hired))
        self.hired.append(worker)
        return worker


class SiteWorker:
    """A worker in this process that dies, with all it has in hand, of any item that is deadly."""

    def __init__(self, site: Site, number: int) -> None:
        self._site, self.number = site, number
        self.dead = asyncio.Event()
        self.is_ended = False

    async def start(self) -> Mapping[str, str]:
        await asyncio.sleep(0)
        if self._site.dies_at_start(self.number):
            raise WorkerLostError("it died while it started")
        return self._site.digests(self.number)

    async def label(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        ids = tuple(request.item.id for request in requests)
        self._site.batches.append((self.number, ids))
        if self._site.deadly & set(ids):
            self._site.deaths += 1
            self.dead.set()
        dying = asyncio.ensure_future(self.dead.wait())
        working = asyncio.ensure_future(self._work())
        await asyncio.wait([dying, working], return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        working.cancel()
        if self.dead.is_set():
            raise WorkerLostError("killed")
        self._site.seen.update(ids)
        return [outcome_of(request) for request in requests]

    async def _work(self) -> None:
        if self._site.gate is not None:
            await self._site.gate.wait()
        else:
            await asyncio.sleep(0.001)

    async def end(self) -> None:
        self.is_ended = True


def outcome_of(request: Request) -> Failed:
    """Any outcome will do; the message names the item."""
    return Failed(item=request.item, task="ner", failure=Failure(code="done", message=request.item.id))


def requests(count: int) -> list[Request]:
    return [Request(item=Item(id=f"i{n:03}", media="text", text=str(n)), task="ner") for n in range(count)]


@asynccontextmanager
async def a_pool(site: Site, *, most: int = 2, idle_s: float = 30.0) -> AsyncIterator[WorkerPool]:
    crew = Crew(most=lambda: most, batch_items=BATCH, pause_s=0.0, last_words_s=0.1, idle_s=idle_s)
    pool = WorkerPool(site.hire, crew)
    try:
        yield pool
    finally:
        await pool.close()


async def label_all(pool: WorkerPool, wanted: Sequence[Request]) -> list[Outcome]:
    return list(await asyncio.wait_for(asyncio.gather(*map(pool.label, wanted)), 30))


def codes(outcomes: Sequence[Outcome]) -> Counter[str]:
    return Counter(outcome.failure.code for outcome in outcomes if isinstance(outcome, Failed))


async def test_every_item_gets_its_own_outcome_whoever_labels_it() -> None:
    site, wanted = Site(), requests(100)

    async with a_pool(site) as pool:
        await pool.start()
        outcomes = await label_all(pool, wanted)

    assert [outcome.failure.message for outcome in outcomes if isinstance(outcome, Failed)] == [
        request.item.id for request in wanted
    ]
    assert set(site.seen.values()) == {1}
    assert {number for number, _ in site.batches} == {0, 1}
    assert max(len(ids) for _, ids in site.batches) == BATCH
    assert all(worker.is_ended for worker in site.hired)


async def test_there_is_one_worker_until_more_items_wait_than_it_has_room_for() -> None:
    gate = asyncio.Event()
    site = Site(gate=gate)

    async with a_pool(site, most=3) as pool:
        await pool.start()
        few = [asyncio.create_task(pool.label(request)) for request in requests(2 * BATCH)]
        await settled(lambda: len(site.batches) >= 2)
        hired_for_few = len(site.hired)
        many = [asyncio.create_task(pool.label(request)) for request in requests(20 * BATCH)[2 * BATCH :]]
        await settled(lambda: pool.workers == 3)
        at_once = pool.at_once
        gate.set()
        await asyncio.wait_for(asyncio.gather(*few, *many), 30)

    assert hired_for_few == 1
    assert len(site.hired) == 3
    assert at_once == 3 * 3 * BATCH + BATCH  # three batches for each of three workers, and one that waits


async def test_an_item_that_kills_its_worker_takes_no_other_with_it() -> None:
    site, wanted = Site(deadly=frozenset({"i017"})), requests(60)

    async with a_pool(site) as pool:
        await pool.start()
        outcomes = await label_all(pool, wanted)

    assert site.deaths >= 2  # once among others, once alone
    assert codes(outcomes) == {"done": 59, "worker_lost": 1}
    assert isinstance(outcomes[17], Failed)
    assert outcomes[17].failure.code == "worker_lost"
    assert set(site.seen) == {request.item.id for request in wanted} - {"i017"}


async def test_an_item_that_has_killed_a_worker_is_tried_again_alone() -> None:
    site, wanted = Site(deadly=frozenset({"i001"})), requests(8)

    async with a_pool(site, most=1) as pool:
        await pool.start()
        await label_all(pool, wanted)
        before = len(site.batches)
        [again] = codes(await label_all(pool, [wanted[1]]))

    assert again == "worker_lost"
    assert [ids for _, ids in site.batches[before:]] == [("i001",)]


async def test_a_worker_that_dies_by_itself_costs_no_item() -> None:
    gate = asyncio.Event()
    site, wanted = Site(gate=gate), requests(40)

    async with a_pool(site) as pool:
        await pool.start()
        working = [asyncio.create_task(pool.label(request)) for request in wanted]
        await settled(lambda: len(site.batches) >= 4)
        site.hired[0].dead.set()
        await settled(lambda: len(site.hired) == 3)
        gate.set()
        outcomes = await asyncio.wait_for(asyncio.gather(*working), 30)

    assert codes(outcomes) == {"done": 40}
    assert set(site.seen.values()) == {1}


async def test_workers_that_all_die_end_the_run_with_a_reason() -> None:
    wanted = requests(30)
    site = Site(deadly=frozenset(request.item.id for request in wanted))

    async with a_pool(site) as pool:
        await pool.start()
        with pytest.raises(ModelError, match="workers died in a row"):
            await label_all(pool, [request for request in wanted for _ in range(4)])

    assert site.deaths >= 20


async def test_workers_that_cannot_start_end_the_run() -> None:
    site = Site(dies_at_start=lambda number: True)

    async with a_pool(site) as pool:
        with pytest.raises(ModelError, match="3 workers died while they started"):
            await asyncio.wait_for(pool.start(), 30)

    assert len(site.hired) == 3


async def test_workers_that_cannot_start_do_not_end_the_run_while_another_works() -> None:
    site = Site(dies_at_start=lambda number: 0 < number < 8, gate=asyncio.Event())

    async with a_pool(site, most=4) as pool:
        await pool.start()
        working = [asyncio.create_task(pool.label(request)) for request in requests(60)]
        await settled(lambda: len(site.hired) >= 8)
        assert site.gate is not None
        site.gate.set()
        outcomes = await asyncio.wait_for(asyncio.gather(*working), 30)

    assert codes(outcomes) == {"done": 60}


async def test_a_worker_that_dies_while_it_starts_is_replaced() -> None:
    site = Site(dies_at_start=lambda number: number == 0)

    async with a_pool(site, most=1) as pool:
        labels_with = await asyncio.wait_for(pool.start(), 30)
        outcomes = await label_all(pool, requests(8))

    assert labels_with == {"model": "w"}
    assert (len(site.hired), codes(outcomes)) == (2, {"done": 8})


async def test_a_worker_with_another_version_of_the_model_ends_the_run() -> None:
    site = Site(digests=lambda number: {"model": "w" if number == 0 else "other"}, gate=asyncio.Event())

    async with a_pool(site) as pool:
        await pool.start()
        with pytest.raises(ConfigError, match="another version of model"):
            await label_all(pool, requests(40))


async def test_a_worker_that_has_nothing_to_do_leaves_and_another_comes_when_needed() -> None:
    site = Site()

    async with a_pool(site, idle_s=0.05) as pool:
        await pool.start()
        await label_all(pool, requests(60))
        await settled(lambda: pool.workers == 1)
        hired = len(site.hired)
        outcomes = await label_all(pool, requests(60))

    assert hired >= 2
    assert len(site.hired) > hired
    assert codes(outcomes) == {"done": 60}


async def test_workers_that_leave_at_the_same_time_leave_no_item_behind() -> None:
    site = Site()

    async with a_pool(site, most=3, idle_s=0.01) as pool:
        await pool.start()
        for _ in range(30):
            outcomes = await label_all(pool, requests(60))
            assert codes(outcomes) == {"done": 60}
            await asyncio.sleep(0.0095)  # items come in the very moment in which the workers leave

    assert len(site.hired) > 3


async def test_an_item_that_nobody_waits_for_any_more_is_forgotten() -> None:
    gate = asyncio.Event()
    site, wanted = Site(gate=gate), requests(8)

    async with a_pool(site, most=1) as pool:
        await pool.start()
        given_up = asyncio.create_task(pool.label(wanted[0]))
        await settled(lambda: len(site.batches) == 1)
        given_up.cancel()
        working = [asyncio.create_task(pool.label(request)) for request in wanted[1:]]
        gate.set()
        outcomes = await asyncio.wait_for(asyncio.gather(*working), 30)

    assert given_up.cancelled()
    assert codes(outcomes) == {"done": 7}


async def settled(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)
