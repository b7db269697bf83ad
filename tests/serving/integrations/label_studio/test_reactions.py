"""Checks that no answer of ours is one at which Label Studio 1.23.2 was seen to lose something.

Of N slots fewer than N, none, null, or any status but 200 cost all tasks of a call; a score that is no number costs
them or itself; a filled slot under another version than /setup's is stored, and the task asked for again. An empty
slot costs nothing: that task is asked for again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text

from pipelines.ontology import Class, Ontology
from pipelines.store import engine as database
from pipelines.store.label_studio.connections import Connections
from pipelines.store.label_studio.deliveries import Deliveries
from pipelines.store.label_studio.events import Events
from pipelines.store.store import Store
from tests.pipelines.formats.readers import Reader, reader
from tests.serving.builders import a_client
from tests.serving.integrations.label_studio.builders import (
    PlayedModels,
    connected_to,
    hasty,
    png,
    predict,
    replay,
    settings_of_all,
    texts,
)
from tests.serving.integrations.label_studio.recorded import recorded
from tests.serving.integrations.label_studio.studio import a_studio
from tests.serving.runs.builders import CUT_OFF

pytestmark = CUT_OFF

CALLS = recorded()
TEXTS = CALLS["predict/batch text"].label_config
IMAGES = CALLS["predict/open task image (basic auth)"].label_config
JSON = {"Content-Type": "application/json"}
NOWHERE = "http://127.0.0.1:1"
HINT = {"action": "TASKS_CREATED", "tasks": [{"id": 4}]}

Block = Callable[[bool], None]


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("label_studio", "label_studio") as sdk:
        yield sdk


@pytest.fixture
def models() -> PlayedModels:
    return PlayedModels()


@pytest.fixture
async def client(postgres_url: str, models: PlayedModels) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_of_all(postgres_url), models) as opened:
        yield opened


@pytest.fixture
async def key(postgres_url: str, client: httpx.AsyncClient) -> str:
    """The key of a connected project."""
    async with connected_to(postgres_url, NOWHERE) as (_, _, key):
        return key


@asynccontextmanager
async def hanging(postgres_url: str, table: str) -> AsyncIterator[None]:
    """A store that does not answer what is asked of a table, and says nothing."""
    url = postgres_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url) as locking:
        await locking.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


def slots_of(answer: httpx.Response, tasks: int) -> list[Any]:
    """The slots of an answer of which Label Studio loses nothing."""
    assert answer.status_code == 200, answer.text
    found = answer.json(parse_constant=lambda name: pytest.fail(f"{name} is no number"))
    slots = found["results"]
    assert isinstance(found, dict) and isinstance(slots, list)
    assert len(slots) == tasks
    assert all(slot == [] or isinstance(slot["result"], list) for slot in slots)
    assert all(0.0 <= slot["score"] <= 1.0 for slot in slots if slot)
    return slots


# Fewer slots than tasks, and slots that are null.


async def test_rubbish_among_the_tasks_costs_its_own_slots(client: httpx.AsyncClient, key: str) -> None:
    rubbish: list[Any] = [None, 7, "x", [], {}, {"id": 1}, {"id": "x", "data": None}, {"data": []}, {"id": True}]
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    tasks = [*texts("Ann met"), *rubbish, {"id": 2**70, "data": {"text": "Bob"}}, {"id": 5, "data": {"text": deep}}]

    for path in ("auto", f"auto/{key}"):
        slots = slots_of(await predict(client, tasks, config=TEXTS, path=path), len(tasks))

        assert [n for n, slot in enumerate(slots) if slot] == [0, len(rubbish) + 1]


async def test_no_task_gives_no_slot(client: httpx.AsyncClient, key: str) -> None:
    assert slots_of(await predict(client, [], config=TEXTS), 0) == []
    assert slots_of(await predict(client, [], config=TEXTS, path=f"auto/{key}"), 0) == []


async def test_a_lone_surrogate_in_one_text_costs_nothing(client: httpx.AsyncClient) -> None:
    content = json.dumps({"tasks": texts("\ud800 lone", "Ann"), "label_config": TEXTS}).encode()
    assert b"\\ud800" in content

    answer = await client.post("/label-studio/auto/predict", content=content, headers=JSON)

    lone, ann = slots_of(answer, 2)
    assert lone["result"][0]["value"]["end"] == 1  # it counts as one character, as it does for Label Studio
    assert ann["result"]


async def test_what_is_no_call_is_refused_and_breaks_nothing(client: httpx.AsyncClient) -> None:
    for content in (b"", b"[]", b"{", b'{"tasks": null}', b'{"tasks": {}}', b"\xff"):
        answer = await client.post("/label-studio/auto/predict", content=content, headers=JSON)

        assert answer.status_code in (400, 422) and answer.json()["error"]["message"]


# One slot for several tasks: every one would be asked for again, alone.


async def test_equal_tasks_have_a_slot_each(client: httpx.AsyncClient, key: str) -> None:
    tasks = [task | {"id": 3} for task in texts("Ann", "Ann", "Ann")]

    assert all(slots_of(await predict(client, tasks, config=TEXTS), 3))
    assert all(slots_of(await predict(client, tasks, config=TEXTS, path=f"auto/{key}"), 3))


# A status, a dropped connection: all is lost, and nobody sees it.


async def test_a_store_that_is_down_leaves_the_slots_empty(
    client: httpx.AsyncClient, key: str, block_database: Block
) -> None:
    block_database(True)
    try:
        strangers = await predict(client, texts("Ann", "Bob"), config=TEXTS)
        ours = await predict(client, texts("Ann", "Bob"), config=TEXTS, path=f"auto/{key}")
        click = await replay(client, CALLS["predict/interactive image"], path=f"auto/{key}")
        setup = await replay(client, CALLS["setup"], path=f"auto/{key}")
        hint = await client.post(f"/label-studio/auto/{key}/webhook", json=HINT)
    finally:
        block_database(False)
    again = await predict(client, texts("Ann", "Bob"), config=TEXTS, path=f"auto/{key}")

    assert slots_of(strangers, 2) == slots_of(ours, 2) == [[], []]
    assert slots_of(click, 1) == [[]]
    assert setup.json()["model_version"].startswith("prelabel-ner-")  # or the backend would be said to be down
    assert (hint.status_code, hint.json()) == (201, {"status": "later"})
    assert all(slots_of(again, 2))


async def test_a_store_that_goes_down_while_models_work_leaves_the_slots_empty(
    client: httpx.AsyncClient, key: str, models: PlayedModels, block_database: Block
) -> None:
    call = asyncio.create_task(predict(client, texts("Ann", "wait"), config=TEXTS, path=f"auto/{key}"))
    async with asyncio.timeout(60.0):
        await models.waits.wait()
    block_database(True)
    models.goes_on.set()
    try:
        answer = await call
    finally:
        block_database(False)

    assert slots_of(answer, 2) == [[], []]


@pytest.mark.parametrize("table", ["label_studio_projects", "prelabels"])
async def test_a_store_that_hangs_does_not_hold_an_answer_back(postgres_url: str, table: str) -> None:
    settings = hasty(settings_of_all(postgres_url), 0.5)
    async with a_client(settings, PlayedModels()) as client, connected_to(postgres_url, NOWHERE) as (_, _, key):
        async with hanging(postgres_url, table), asyncio.timeout(30.0):
            answer = await predict(client, texts("Ann", "Bob"), config=TEXTS, path=f"auto/{key}")

        assert slots_of(answer, 2) == [[], []]


async def test_models_that_are_overloaded_leave_the_slots_empty(client: httpx.AsyncClient, key: str) -> None:
    for path in ("auto", f"auto/{key}"):
        full = slots_of(await predict(client, texts("full", "full"), config=TEXTS, path=path), 2)
        some = slots_of(await predict(client, texts("full", "Ann"), config=TEXTS, path=path), 2)

        assert full == [[], []]
        assert [bool(slot) for slot in some] == [False, True]


async def test_models_that_have_never_run_leave_the_slots_empty(
    client: httpx.AsyncClient, key: str, models: PlayedModels
) -> None:
    models.has_run = False

    assert slots_of(await predict(client, texts("Ann", "Bob"), config=TEXTS), 2) == [[], []]
    assert slots_of(await predict(client, texts("Ann", "Bob"), config=TEXTS, path=f"auto/{key}"), 2) == [[], []]
    assert (await replay(client, CALLS["setup"])).json()["error"]["code"] == "model_stopped"


async def test_models_that_hang_are_waited_for_until_the_deadline(postgres_url: str) -> None:
    settings, models = hasty(settings_of_all(postgres_url), 0.5), PlayedModels(hangs=True)
    async with a_client(settings, models) as client, connected_to(postgres_url, NOWHERE) as (_, _, key):
        async with asyncio.timeout(30.0):
            strangers = await predict(client, texts("Ann", "Bob"), config=TEXTS)
            ours = await predict(client, texts("Ann", "Bob"), config=TEXTS, path=f"auto/{key}")

        assert slots_of(strangers, 2) == slots_of(ours, 2) == [[], []]
        assert models.asked


async def test_broken_media_cost_their_own_slots(postgres_url: str) -> None:
    async with a_studio() as studio:
        studio.files = {"/data/upload/2/good.png": png(), "/data/upload/2/half.png": png()[:10]}
        given = [
            f"{studio.url}/data/upload/2/good.png",
            "/data/upload/2/half.png",
            "/data/upload/2/gone.png",
            "/data/upload/2/good.png",
            f"{NOWHERE}/x.png",
            "file:///etc/passwd",
            "/api/current-user/whoami",
        ]
        tasks = [{"id": n + 1, "data": {"image": uri}} for n, uri in enumerate(given)]
        async with (
            a_client(settings_of_all(postgres_url), PlayedModels()) as client,
            connected_to(postgres_url, studio.url) as (_, _, key),
        ):
            slots = slots_of(await predict(client, tasks, config=IMAGES, path=f"detection/{key}"), len(given))

        assert [n for n, slot in enumerate(slots) if slot] == [0, 3]
        assert not [path for _, path, _ in studio.calls if path.startswith("/api")]


# An empty result is a prediction that nothing is there, and is never asked for again.


async def test_only_where_nothing_was_found_is_a_slot_filled_with_nothing(client: httpx.AsyncClient) -> None:
    nothing, failed = slots_of(await predict(client, texts("nothing", "fail"), config=TEXTS), 2)

    assert (nothing["result"], failed) == ([], [])


# A score that is no number.


async def test_a_score_that_is_no_number_is_told_as_one(client: httpx.AsyncClient, library: Reader) -> None:
    slots = slots_of(await predict(client, texts("odd", "Ann"), config=TEXTS), 2)

    assert library.ask(config=TEXTS, predictions=[slot for slot in slots if slot])["errors"] == [
        [] for slot in slots if slot
    ]
    assert slots[1]


# A name that the project does not have is stored, and seen by nobody.


async def test_regions_have_names_and_labels_of_the_project_alone(client: httpx.AsyncClient, library: Reader) -> None:
    config = (
        '<View><Labels name="who" toName="t"><Label value="x" predicted_values="PER"/></Labels>'
        '<Text name="t" value="$text"/></View>'
    )

    (slot,) = slots_of(await predict(client, texts("Ann"), config=config), 1)

    assert [(one["from_name"], one["to_name"], one["value"]["labels"]) for one in slot["result"]] == [
        ("who", "t", ["x"])
    ]
    assert library.ask(config=config, predictions=[slot])["errors"] == [[]]


async def test_a_project_without_a_label_of_the_model_is_told_of_nothing_else(client: httpx.AsyncClient) -> None:
    config = TEXTS.replace("PER", "LOC")

    (slot,) = slots_of(await predict(client, texts("Ann"), config=config), 1)

    assert slot["result"] == []


async def test_a_project_that_cannot_be_served_is_refused_at_setup_and_at_predict_alike(
    client: httpx.AsyncClient,
) -> None:
    config = '<View><Video name="v" value="$video"/><Labels name="l" toName="v"><Label value="x"/></Labels></View>'

    setup = await client.post("/label-studio/auto/setup", json={"schema": config})
    answer = await predict(client, texts("Ann"), config=config)

    assert (setup.status_code, setup.json()) == (answer.status_code, answer.json())
    assert setup.json()["error"]["code"] == "unservable_config"


async def test_what_a_project_does_not_offer_is_neither_told_nor_kept(postgres_url: str) -> None:
    """Where it is known what the models can give; else whoever labels there would seem to have taken it away."""
    ontology = Ontology(classes=(Class(name="PER"), Class(name="ORG")))
    settings = settings_of_all(postgres_url).model_copy(update={"ontology": ontology})
    both, one = TEXTS, TEXTS.replace('<Label value="PER"/>', "")
    async with a_client(settings, PlayedModels()) as client, connected_to(postgres_url, NOWHERE) as (store, _, key):
        (whole,) = slots_of(await predict(client, texts("Ann"), config=both, path=f"auto/{key}"), 1)
        (part,) = slots_of(await predict(client, texts("Ann"), config=one, path=f"auto/{key}"), 1)
        async with database.reading(store.engine) as db:
            kept = (await db.execute(text("SELECT prediction->'annotations' FROM prelabels ORDER BY id"))).scalars()
            labels = [[one["label"] for one in annotations] for annotations in kept]

    assert (len(whole["result"]), part["result"]) == (1, [])
    assert labels == [["PER"], []]


async def test_a_click_bears_the_label_of_the_project_whatever_the_ontology(postgres_url: str) -> None:
    settings = settings_of_all(postgres_url).model_copy(update={"ontology": Ontology(classes=(Class(name="Person"),))})
    call = CALLS["predict/interactive image"]
    async with a_studio() as studio:
        studio.files = {"/data/upload/3/2abf2aa7-a_b_%C3%A9.png": png()}
        async with (
            a_client(settings, PlayedModels()) as client,
            connected_to(postgres_url, studio.url) as (_, _, key),
        ):
            (slot,) = slots_of(await replay(client, call, path=f"auto/{key}"), 1)

    assert [region["value"]["rectanglelabels"] for region in slot["result"]] == [["Car"]]


# Another version than /setup's: what is stored is asked for again, at every look at the project.


async def test_every_slot_has_the_version_that_setup_told(client: httpx.AsyncClient, key: str) -> None:
    versions = set[str]()
    for n, path in enumerate(("auto", "ner", f"auto/{key}", f"ner/{key}")):
        told = await client.post(f"/label-studio/{path}/setup", json={"schema": TEXTS})
        slots = slots_of(await predict(client, texts(f"Ann {n}", f"Bob {n}"), config=TEXTS, path=path), 2)
        versions |= {told.json()["model_version"], *(slot["model_version"] for slot in slots)}

    assert len(versions) == 1


# A call that is slow: /health has 1 s, /setup 3 s, a webhook 1 s, in which an annotator waits.


async def test_health_setup_and_webhooks_wait_for_no_model(postgres_url: str) -> None:
    models = PlayedModels(hangs=True)
    async with (
        a_client(settings_of_all(postgres_url), models) as client,
        connected_to(postgres_url, NOWHERE) as (_, _, key),
    ):
        call = asyncio.create_task(predict(client, texts("Ann"), config=TEXTS, path=f"auto/{key}"))
        async with asyncio.timeout(30.0):
            while not models.asked:  # noqa: ASYNC110 - the call is to be at its model
                await asyncio.sleep(0.01)
            health = await replay(client, CALLS["health"], path=f"auto/{key}")
            setup = await replay(client, CALLS["setup"], path=f"auto/{key}")
            hint = await client.post(f"/label-studio/auto/{key}/webhook", json=HINT)
        was_waiting = not call.done()
        call.cancel()
        await asyncio.wait([call])

        assert was_waiting
        assert [answer.status_code for answer in (health, setup, hint)] == [200, 200, 201]


@pytest.mark.parametrize("table", ["label_studio_projects", "label_studio_events"])
async def test_a_webhook_does_not_wait_for_a_store_that_hangs(
    postgres_url: str, client: httpx.AsyncClient, key: str, table: str
) -> None:
    await client.post(f"/label-studio/auto/{key}/webhook", json={"action": "PROJECT_UPDATED"})  # the store is open
    async with hanging(postgres_url, table):
        began = time.monotonic()
        hint = await client.post(f"/label-studio/auto/{key}/webhook", json=HINT)
        took_s = time.monotonic() - began

    assert (hint.status_code, hint.json()) == (201, {"status": "later"})
    assert took_s < 1.0  # Label Studio's patience


async def test_setup_does_not_wait_for_a_store_that_hangs(
    postgres_url: str, client: httpx.AsyncClient, key: str
) -> None:
    async with hanging(postgres_url, "label_studio_projects"):
        began = time.monotonic()
        told = await replay(client, CALLS["setup"], path=f"auto/{key}")
        took_s = time.monotonic() - began

    assert told.status_code == 200
    assert took_s < 3.0  # Label Studio's patience


# What becomes of the rest.


async def test_what_was_not_ready_is_owed_and_what_was_answered_is_not(postgres_url: str) -> None:
    settings = hasty(settings_of_all(postgres_url), 0.5)
    models = PlayedModels()
    async with a_client(settings, models) as client, connected_to(postgres_url, NOWHERE) as (store, connection, key):
        slots = slots_of(await predict(client, texts("Ann", "wait"), config=TEXTS, path=f"auto/{key}"), 2)

        assert [bool(slot) for slot in slots] == [True, False]
        assert await Deliveries(store, connection.id).counts() == {"answered": 1, "open": 1}


async def test_tasks_without_an_id_are_answered_and_owed_to_nobody(
    client: httpx.AsyncClient, postgres_url: str
) -> None:
    async with connected_to(postgres_url, NOWHERE) as (store, connection, key):
        tasks = [{"data": {"text": "Ann"}}, {"id": 7, "data": {"text": "Bob"}}, {"id": "8", "data": {"text": "Cid"}}]

        slots = slots_of(await predict(client, tasks, config=TEXTS, path=f"auto/{key}"), 3)

        assert [slot["result"][0]["value"]["text"] for slot in slots] == ["Ann", "Bob", "Cid"]
        assert await Deliveries(store, connection.id).counts() == {"answered": 1}
        async with database.reading(store.engine) as db:
            assert (await db.execute(text("SELECT task_id FROM label_studio_tasks"))).scalars().all() == [7]


async def test_a_hint_holds_whatever_else_the_webhook_does(client: httpx.AsyncClient, postgres_url: str) -> None:
    async with connected_to(postgres_url, NOWHERE) as (store, connection, key):
        body = {"action": "TASKS_CREATED", "tasks": [{"id": 5, "data": {"text": "\ud800"}}, {"id": "x"}, None, 6]}

        content = json.dumps(body).encode()
        answer = await client.post(f"/label-studio/auto/{key}/webhook", content=content, headers=JSON)

        (event,) = await Events(store, connection.id).due()
        assert (answer.status_code, event.ids) == (201, (5, 6))


async def test_a_project_that_is_connected_anew_lets_its_old_key_go(
    client: httpx.AsyncClient, postgres_url: str
) -> None:
    async with connected_to(postgres_url, NOWHERE) as (_, _, old):
        async with Store.open(postgres_url) as store:
            _, new = await Connections(store).connect(NOWHERE, 2, task="auto", token="a" * 40)

        before = await predict(client, texts("Ann"), config=TEXTS, path=f"auto/{old}")
        after = await predict(client, texts("Ann"), config=TEXTS, path=f"auto/{new}")

        assert (before.status_code, after.status_code) == (404, 200)
