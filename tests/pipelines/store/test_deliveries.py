"""Checks that each prediction for Label Studio is on one way at a time, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from models.types import Item, Prediction
from pipelines.policy import ThresholdPolicy
from pipelines.store import engine as database
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.label_studio.deliveries import Begun, Deliveries, Key, Wanted, arrives_s, item_id
from pipelines.store.posted import PostedRuns
from pipelines.store.store import Store
from pipelines.types import Failed, Failure, Labelled, Outcome, PreLabel, Provenance

VERSION = "prelabel-ner-1"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[Store, Connection, Deliveries]]:
    async with Store.open(url) as store:
        connection, _ = await Connections(store).connect("http://ls", 7, task="ner", token="t")
        yield store, connection, Deliveries(store, connection.id)


def texts(*ids: int, digest: str = "d") -> list[Wanted]:
    return [
        Wanted(task_id=n, digest=digest, item=Item(id=item_id(n, digest), media="text", text=f"text {n}")) for n in ids
    ]


async def begin(store: Store, deliveries: Deliveries, wanted: list[Wanted], *, few: int = 0, run: str = "r") -> Begun:
    online = await store.start_run("label-studio", run_id="online")
    return await deliveries.begin(
        wanted, version=VERSION, task="ner", online_run=online, new_run=run, few=few, held_s=60.0
    )


def labelled(one: Wanted) -> Labelled:
    made_by = Provenance(
        model="m",
        model_version="1",
        weights_digest="w",
        config_digest="c",
        calibration_id=None,
        policy_id="p",
        item_digest="x" + one.item.id,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    pre_label = PreLabel(prediction=Prediction(), confidence=None, calibrated=False, uncertainty={}, provenance=made_by)
    policy = ThresholdPolicy(queue="texts", accept_score=0.5)
    return Labelled(item=one.item, task="ner", pre_label=pre_label, decision=policy.decide(one.item, "ner", pre_label))


async def label(store: Store, begun: Begun, wanted: list[Wanted]) -> None:
    """As the worker of runs does."""
    outcomes: list[Outcome] = [labelled(one) for one in wanted if one.key in begun.keys]
    await store.save(outcomes, run_id=begun.run_id, attempt=0 if begun.is_posted else None)


async def fail(store: Store, begun: Begun, wanted: list[Wanted]) -> None:
    failure = Failure(code="unreadable_image", message="broken")
    outcomes: list[Outcome] = [Failed(item=one.item, task="ner", failure=failure) for one in wanted]
    await store.save(outcomes, run_id=begun.run_id, attempt=0 if begun.is_posted else None)


def keys_of(wanted: list[Wanted]) -> set[Key]:
    return {one.key for one in wanted}


async def test_many_tasks_become_a_run_that_is_listed_and_waits(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, connection, deliveries):
        wanted = texts(1, 2, 3)

        begun = await begin(store, deliveries, wanted)

        run = await store.run("r")
        assert (begun.keys, begun.is_posted, begun.run_id) == (keys_of(wanted), True, "r")
        assert (run.status, run.is_posted, run.is_listed, run.task) == ("queued", True, True, "ner")
        assert run.source == {"drop": f"label-studio:{connection.id}"}
        assert await PostedRuns(store).to_work_on(["ner"]) == ["r"]


async def test_few_tasks_are_the_callers(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        begun = await begin(store, deliveries, texts(1, 2), few=2)

        assert (len(begun.keys), begun.is_posted, begun.run_id) == (2, False, "online")
        assert await PostedRuns(store).to_work_on(["ner"]) == []


async def test_what_a_run_works_on_is_begun_once_however_many_ask(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        calls = [begin(store, deliveries, texts(*range(n, n + 40)), run=f"r{n}") for n in range(0, 60, 5)]

        begun = await asyncio.gather(*calls)

        keys = [key for one in begun for key in one.keys]
        assert len(keys) == len(set(keys)) == 55 + 40
        again = await begin(store, deliveries, texts(*range(95)), run="again")
        assert not again.keys and not again.is_posted


async def test_a_task_whose_data_or_version_changed_is_another(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        await begin(store, deliveries, texts(1))

        changed = await begin(store, deliveries, texts(1, digest="other"), run="r2")

        assert changed.keys == {(1, "other")}


async def test_nothing_is_pushed_before_its_time_and_everything_once(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        wanted = texts(1, 2, 3)
        begun = await begin(store, deliveries, wanted)
        await label(store, begun, wanted)

        early = await deliveries.take(limit=10)
        await deliveries.let_go(keys_of(wanted), version=VERSION)
        taken = await deliveries.take(limit=10)
        again = await deliveries.take(limit=10)
        just_now = await deliveries.unsure(limit=10)
        async with database.transaction(store.engine) as db:
            await db.execute(text("UPDATE label_studio_tasks SET changed_at = now() - interval '1 minute'"))
        unsure = await deliveries.unsure(limit=10)
        await deliveries.settle({(1, "d"), (2, "d")}, version=VERSION, is_there=True)
        await deliveries.settle({(3, "d")}, version=VERSION, is_there=False)
        rest = await deliveries.take(limit=10)

        assert (early, again) == ([], [])
        assert {owed.key for owed in taken} == keys_of(wanted)
        assert {owed.version for owed in taken} == {VERSION}
        assert just_now == {}  # Label Studio may still be storing them
        assert unsure == {VERSION: sorted(keys_of(wanted))}
        assert [owed.task_id for owed in rest] == [3]
        assert await deliveries.counts() == {"delivered": 2, "pushing": 1}


async def test_what_an_answer_has_promised_is_neither_pushed_nor_promised_to_another_list(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        wanted = texts(1, 2)
        begun = await begin(store, deliveries, wanted)
        await label(store, begun, wanted)

        first = await deliveries.promise(keys_of(wanted), version=VERSION, began_at=begun.at, is_alone=False)
        second = await deliveries.promise(keys_of(wanted), version=VERSION, began_at=begun.at, is_alone=False)
        opened = await deliveries.promise({(1, "d")}, version=VERSION, began_at=begun.at, is_alone=True)
        await deliveries.let_go(keys_of(wanted), version=VERSION)

        assert (first, second, opened) == (keys_of(wanted), set(), {(1, "d")})
        assert await deliveries.take(limit=10) == []
        assert await deliveries.unsure(limit=10) == {}


async def test_what_is_being_pushed_or_just_was_stands_in_no_answer(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        wanted = texts(1, 2)
        begun = await begin(store, deliveries, wanted)
        await label(store, begun, wanted)
        await deliveries.let_go(keys_of(wanted), version=VERSION)
        assert len(await deliveries.take(limit=1)) == 1

        pushing = await deliveries.promise({(1, "d")}, version=VERSION, began_at=begun.at, is_alone=True)
        await deliveries.settle({(1, "d")}, version=VERSION, is_there=True)
        just_now = await deliveries.promise({(1, "d")}, version=VERSION, began_at=begun.at, is_alone=True)
        async with database.transaction(store.engine) as db:
            await db.execute(text("UPDATE label_studio_tasks SET changed_at = now() - interval '1 hour'"))
        long_ago = await deliveries.promise({(1, "d")}, version=VERSION, began_at=begun.at, is_alone=True)

        assert (pushing, just_now, long_ago) == (set(), set(), {(1, "d")})  # it was deleted there, and is asked for


@pytest.mark.parametrize("is_answered", [False, True])
async def test_a_promise_that_is_long_past_is_to_be_looked_up(postgres_url: str, is_answered: bool) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        wanted = texts(1, 2)
        begun = await begin(store, deliveries, wanted)
        await label(store, begun, wanted)
        await deliveries.promise(keys_of(wanted), version=VERSION, began_at=begun.at, is_alone=False)
        if is_answered:
            await deliveries.answered(keys_of(wanted), version=VERSION)
        before = await deliveries.unsure(limit=10)
        async with database.transaction(store.engine) as db:
            await db.execute(text("UPDATE label_studio_tasks SET held_until = now()"))

        assert (before, await deliveries.unsure(limit=10)) == ({}, {VERSION: [(1, "d"), (2, "d")]})


async def promised(store: Store, deliveries: Deliveries, wanted: list[Wanted], *, few: int = 0) -> None:
    """As long after an answer that may have arrived."""
    begun = await begin(store, deliveries, wanted, few=few)
    await label(store, begun, wanted)
    await deliveries.promise(keys_of(wanted), version=VERSION, began_at=begun.at, is_alone=False)
    await go_by(store, "1 hour")


async def go_by(store: Store, interval: str) -> None:
    async with database.transaction(store.engine) as db:
        for change in (
            "UPDATE label_studio_tasks SET held_until = held_until - CAST(:by AS interval)",
            "UPDATE label_studio_tasks SET changed_at = changed_at - CAST(:by AS interval)",
        ):
            await db.execute(text(change), {"by": interval})


async def test_an_answer_that_arrives_bit_by_bit_is_not_lost_while_it_does(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        await promised(store, deliveries, texts(1, 2, 3))

        await deliveries.settle({(3, "d")}, version=VERSION, is_there=True)
        await deliveries.settle({(1, "d"), (2, "d")}, version=VERSION, is_there=False)
        held = await deliveries.unsure(limit=10), await deliveries.counts()
        await go_by(store, "61 seconds")
        later = await deliveries.unsure(limit=10)
        await deliveries.settle({(1, "d"), (2, "d")}, version=VERSION, is_there=False)

        assert held == ({}, {"promised": 2, "delivered": 1})
        assert later == {VERSION: [(1, "d"), (2, "d")]}
        assert await deliveries.counts() == {"open": 2, "delivered": 1}


async def test_an_answer_of_which_nothing_arrives_is_lost(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        await promised(store, deliveries, texts(1, 2, 3))

        await deliveries.settle({(1, "d"), (2, "d"), (3, "d")}, version=VERSION, is_there=False)

        assert await deliveries.counts() == {"open": 3}


async def test_what_arrives_of_small_calls_holds_nothing_back_of_others(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        await promised(store, deliveries, texts(1, 2, 3), few=3)

        await deliveries.settle({(3, "d")}, version=VERSION, is_there=True)
        await deliveries.settle({(1, "d"), (2, "d")}, version=VERSION, is_there=False)

        assert await deliveries.counts() == {"open": 2, "delivered": 1}


async def test_what_has_failed_is_finished_and_begins_anew_when_it_is_asked_for(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        wanted = texts(1, 2)
        begun = await begin(store, deliveries, wanted, few=2)
        await label(store, begun, wanted[:1])
        await fail(store, begun, wanted[1:])

        finished = await deliveries.finished(keys_of(wanted), version=VERSION)
        found = await deliveries.labelled(keys_of(wanted), version=VERSION)
        again = await begin(store, deliveries, wanted, few=0, run="r2")

        assert finished == keys_of(wanted)
        assert set(found) == {(1, "d")}
        assert (again.keys, again.is_posted) == ({(2, "d")}, True)


async def test_what_failed_for_good_is_owed_to_nobody(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        wanted = texts(1)
        begun = await begin(store, deliveries, wanted, few=1)
        await fail(store, begun, wanted)
        await deliveries.let_go(keys_of(wanted), version=VERSION)

        await deliveries.forget_failed()

        assert await deliveries.counts() == {"failed": 1}
        assert (await begin(store, deliveries, wanted)).keys == keys_of(wanted)


async def test_what_nobody_works_on_any_more_begins_anew(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        wanted = texts(1, 2, 3)
        await begin(store, deliveries, wanted)
        async with database.transaction(store.engine) as db:
            await db.execute(text("UPDATE runs SET status = 'failed' WHERE id = 'r'"))

        assert (await begin(store, deliveries, wanted, run="r2")).keys == keys_of(wanted)


async def test_ten_thousand_tasks_fit_into_one_call(postgres_url: str) -> None:
    async with connected(postgres_url) as (store, _, deliveries):
        wanted = texts(*range(10_000))

        begun = await begin(store, deliveries, wanted)

        assert len(begun.keys) == 10_000
        assert await deliveries.finished(keys_of(wanted), version=VERSION) == set()
        assert await deliveries.counts() == {"open": 10_000}


@pytest.mark.parametrize(("predictions", "took_s"), [(200, 14), (1_000, 102), (10_000, 245)])
def test_no_answer_is_taken_for_lost_while_label_studio_may_still_store_it(predictions: int, took_s: float) -> None:
    assert arrives_s(predictions) > 2 * took_s
