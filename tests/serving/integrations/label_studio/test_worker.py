"""Checks that one process serves the connected projects, each for itself."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import text

from pipelines.store import engine as database
from pipelines.store.label_studio.connections import Connections
from pipelines.store.label_studio.deliveries import Deliveries
from pipelines.store.label_studio.events import Events
from pipelines.store.store import Store
from serving.integrations.label_studio.worker import Every, LabelStudioWorker
from serving.service import open_service
from tests.serving.builders import ObedientModels, a_client
from tests.serving.integrations.label_studio.builders import connected_to, hasty, predict, texts
from tests.serving.integrations.label_studio.studio import CONFIG, TOKEN, Studio, a_studio
from tests.serving.integrations.label_studio.test_push import an_outcome, owe
from tests.serving.runs.builders import CUT_OFF, settings_over, unsure_texts, working

pytestmark = CUT_OFF

_LOCKS = """
FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND granted AND datname = current_database()
"""


@asynccontextmanager
async def serving(url: str, *, workers: int = 1) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Processes that look at the projects of a store; each ends at once, as if it were killed."""
    settings = settings_over(None, url)
    async with open_service(settings, ObedientModels()) as service:
        tasks = [
            asyncio.create_task(
                LabelStudioWorker(
                    settings, models=service.models, store=service.store, flow=service.flow, look_s=0.02
                ).work()
            )
            for _ in range(workers)
        ]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            gc.collect()  # now, and not in another test
    assert all(task.cancelled() for task in tasks), [task for task in tasks if not task.cancelled()]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60.0):
        while not is_so():  # noqa: ASYNC110 - another process, as it were
            await asyncio.sleep(0.01)


@asynccontextmanager
async def owed_to(url: str, count: int = 3) -> AsyncIterator[tuple[Studio, Store, Deliveries]]:
    """A connected project to which predictions are owed."""
    async with (
        a_studio(*(f"text {n + 1}" for n in range(count))) as studio,
        connected_to(url, studio.url, task="ner", is_automatic=False) as (store, connection, _),
    ):
        deliveries = Deliveries(store, connection.id)
        await owe(store, deliveries, [an_outcome(n) for n in studio.tasks], task_ids=list(studio.tasks))
        yield studio, store, deliveries


async def test_what_is_owed_is_pushed_and_hints_are_followed(postgres_url: str) -> None:
    async with owed_to(postgres_url) as (studio, store, _):
        events = Events(store, (await Connections(store).all())[0].id)
        async with serving(postgres_url):
            await until(lambda: len(studio.predictions) == 3)
            await events.add("annotations", [studio.annotate(1, (0, 1, "person"))])
            async with asyncio.timeout(60.0):
                while await events.due():  # noqa: ASYNC110 - another process, as it were
                    await asyncio.sleep(0.02)

        assert studio.predicted() == {1: 1, 2: 1, 3: 1}
        async with database.reading(store.engine) as db:
            assert (await db.execute(text("SELECT count(*) FROM reviews"))).scalar_one() == 1


async def test_one_of_several_processes_serves_and_another_takes_over_from_it(postgres_url: str) -> None:
    async with owed_to(postgres_url) as (studio, store, deliveries), serving(postgres_url, workers=3) as workers:
        await until(lambda: len(studio.predictions) == 3)
        async with database.reading(store.engine) as db:
            holders = (await db.execute(text(f"SELECT count(*) {_LOCKS}"))).scalar_one()
        workers[0].cancel()
        await asyncio.wait([workers[0]])
        workers[1].cancel()
        await asyncio.wait([workers[1]])
        studio.add_tasks("text 4")
        await again(store, deliveries)
        await until(lambda: len(studio.predictions) == 4)

        assert holders == 1
        assert studio.predicted() == {1: 1, 2: 1, 3: 1, 4: 1}


async def again(store: Store, deliveries: Deliveries) -> None:
    """Owe a prediction for a fourth task, by another run."""
    from pipelines.store.label_studio.deliveries import Wanted

    one = an_outcome(4)
    wanted = [Wanted(task_id=4, digest="d", item=one.item)]
    await deliveries.begin(wanted, version="v", task="ner", online_run="", new_run="other", few=0, held_s=0.0)
    await store.save([one], run_id="other", attempt=0)


async def test_a_session_that_ends_takes_its_lock_along_and_nothing_is_stored_twice(postgres_url: str) -> None:
    async with owed_to(postgres_url) as (studio, store, deliveries):
        studio.stores.clear()
        async with serving(postgres_url, workers=2):
            await studio.importing.wait()
            async with database.transaction(store.engine) as db:
                ended = (await db.execute(text(f"SELECT pg_terminate_backend(pid) {_LOCKS}"))).scalars().all()
            reads = len(studio.calls)
            await until(lambda: len(studio.calls) > reads + 1)  # whoever serves next has looked
            studio.stores.set()
            await until(lambda: len(studio.predictions) >= 3)
            await again(store, deliveries)
            studio.add_tasks("text 4")
            await until(lambda: len(studio.predictions) >= 4)

        assert ended == [True]
        assert studio.predicted() == {1: 1, 2: 1, 3: 1, 4: 1}


async def test_a_project_that_cannot_be_reached_does_not_cost_the_others(postgres_url: str) -> None:
    async with owed_to(postgres_url) as (studio, store, _):
        connections = Connections(store)
        await connections.connect("http://127.0.0.1:1", 7, task="ner", token=TOKEN)
        await connections.connect(
            "http://127.0.0.1:1", 8, task="ner", token="no token"
        )  # which nothing can be sent with
        await connections.connect(studio.url, 9, task="ner", token="b" * 40)  # which is refused
        async with serving(postgres_url):
            await until(lambda: len(studio.predictions) == 3)

        assert studio.predicted() == {1: 1, 2: 1, 3: 1}


async def test_projects_come_and_go_while_it_works(postgres_url: str) -> None:
    async with a_studio("text 1") as studio, Store.open(postgres_url) as store, serving(postgres_url):
        connections = Connections(store)
        made, _ = await connections.connect(studio.url, 2, task="ner", token=TOKEN, is_automatic=False)
        await until(lambda: len(studio.calls) > 0)
        deliveries = Deliveries(store, made.id)
        await owe(store, deliveries, [an_outcome(1)], task_ids=[1])
        await until(lambda: len(studio.predictions) == 1)
        await connections.disconnect(made.id)

        assert await deliveries.counts() == {"delivered": 1}  # which is known still when it is connected again
        assert len(studio.predictions) == 1


async def test_a_store_that_comes_back_is_served_again(
    postgres_url: str, block_database: Callable[[bool], None]
) -> None:
    async with owed_to(postgres_url) as (studio, store, deliveries), serving(postgres_url):
        await until(lambda: len(studio.predictions) == 3)
        block_database(True)
        await asyncio.sleep(0.1)
        block_database(False)
        studio.add_tasks("text 4")
        await again(store, deliveries)
        await until(lambda: len(studio.predictions) == 4)

        assert studio.predicted() == {1: 1, 2: 1, 3: 1, 4: 1}


async def test_many_tasks_come_by_the_answer_or_are_pushed_and_none_by_both(postgres_url: str) -> None:
    settings, models = hasty(settings_over(None, postgres_url), 1.0), ObedientModels()
    given = [*unsure_texts(40), "wait"]
    async with (
        a_studio(*given) as studio,
        a_client(settings, models) as client,
        connected_to(postgres_url, studio.url, task="ner", is_automatic=False) as (_, _, key),
        working(settings, models),
    ):
        answer = await predict(client, texts(*given), config=CONFIG, path=f"ner/{key}")
        slots = answer.json()["results"]
        studio.store([{"task": n + 1, **slot} for n, slot in enumerate(slots) if slot])  # as Label Studio does
        models.goes_on.set()
        async with serving(postgres_url):
            await until(lambda: len(studio.predictions) == len(given))

        assert [] in slots
        assert studio.predicted() == dict.fromkeys(range(1, len(given) + 1), 1)
        versions = {row["model_version"] for row in studio.predictions}
        assert versions == {answer.json()["model_version"]}


def test_what_is_due_is_due_at_once_and_then_every_so_often() -> None:
    now = 100.0
    every = Every(5.0, clock=lambda: now)

    at_once = every.is_due()
    every.done()
    soon = every.is_due()
    now += 5.0

    assert (at_once, soon, every.is_due()) == (True, False, True)
