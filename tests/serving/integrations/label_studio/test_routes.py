"""Checks the ML-backend protocol over a real store: what Label Studio is told, and what it is never told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from pipelines.store import engine as database
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.label_studio.deliveries import Deliveries, Wanted
from pipelines.store.label_studio.events import Events
from pipelines.store.store import Store
from pipelines.types import ModelUse
from serving.auth import new_key
from serving.integrations.label_studio import predict as answers
from serving.integrations.label_studio.call import bound
from serving.service import open_service
from tests.serving.builders import ObedientModels, a_client
from tests.serving.runs.builders import CUT_OFF, settings_over, working

pytestmark = CUT_OFF

CONFIG = """
<View><Labels name="label" toName="text"><Label value="person"/></Labels><Text name="text" value="$text"/></View>
"""
IMAGES = '<View><Image name="i" value="$image"/><Choices name="c" toName="i"><Choice value="x"/></Choices></View>'


def tasks(*texts: object) -> list[dict[str, Any]]:
    return [{"id": n + 1, "data": {"text": text}, "predictions": [], "annotations": []} for n, text in enumerate(texts)]


async def predict(
    client: httpx.AsyncClient, given: Sequence[Any], *, key: str | None = None, config: str = CONFIG
) -> httpx.Response:
    path = "/label-studio/ner" + ("" if key is None else f"/{key}")
    body = {"tasks": list(given), "project": "2.1795293816", "label_config": config, "params": {"context": None}}
    return await client.post(f"{path}/predict", json=body)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[Store, Connection, str]]:
    async with Store.open(url) as store:
        connection, key = await Connections(store).connect("http://127.0.0.1:1", 2, task="ner", token="a" * 40)
        yield store, connection, key


class _Streaming(httpx.AsyncBaseTransport):
    """Hands a body to the application piece by piece as it reads, as a server does."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        pieces, sent = aiter(request.stream), list[Any]()

        async def receive() -> dict[str, Any]:
            piece = await anext(pieces, None)
            return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.url.path,
            "raw_path": request.url.raw_path,
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        await self._app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=content)


def streaming(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same application, called such that its caller sees what it reads."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    return httpx.AsyncClient(transport=_Streaming(transport.app), base_url=client.base_url)


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_over(None, postgres_url)) as opened:
        yield opened


async def test_setup_tells_the_version_that_predictions_have(client: httpx.AsyncClient) -> None:
    body = {"project": "2.1", "schema": CONFIG, "hostname": "http://ls", "access_token": "x", "extra_params": None}

    told = await client.post("/label-studio/ner/setup", json=body)
    answer = await predict(client, tasks("0.9"))
    versions = await client.get("/label-studio/ner/versions")

    version = told.json()["model_version"]
    assert told.status_code == 200 and version.startswith("prelabel-ner-")
    assert [slot["model_version"] for slot in answer.json()["results"]] == [version]
    assert versions.json() == {"versions": [version]}


async def test_there_is_a_slot_for_every_task_whatever_becomes_of_it(client: httpx.AsyncClient) -> None:
    given = tasks("0.9", "fail", "nothing", 7, None, "0.5")
    given += [{"id": 9, "data": {}}, {"id": "x", "data": {"text": "0.7"}}, {"id": 10}]
    broken: list[Any] = ["no task", None]

    answer = await predict(client, given + broken)

    results = answer.json()["results"]
    assert answer.status_code == 200
    assert len(results) == len(given) + 2
    assert [slot == [] for slot in results] == [
        False, True, False, False, True, False, True, False, True, True, True
    ]  # fmt: skip
    assert results[0]["result"][0]["value"] == {"start": 0, "end": 3, "text": "0.9", "labels": ["person"]}
    assert results[0]["score"] == 0.9
    assert results[2]["result"] == [] and results[2]["score"] > 0.5


async def test_auto_chooses_the_task_by_the_labeling_config(client: httpx.AsyncClient) -> None:
    told = await client.post("/label-studio/auto/setup", json={"schema": CONFIG})

    assert told.json()["model_version"].startswith("prelabel-ner-")


@pytest.mark.parametrize(
    ("task", "config", "status", "code"),
    [
        ("ner", IMAGES, 400, "unservable_config"),
        ("ner", "<View", 400, "bad_label_config"),
        ("nothing", CONFIG, 404, "unknown_task"),
    ],
)
async def test_what_cannot_be_served_is_said_at_setup(
    client: httpx.AsyncClient, task: str, config: str, status: int, code: str
) -> None:
    told = await client.post(f"/label-studio/{task}/setup", json={"schema": config})

    assert (told.status_code, told.json()["error"]["code"]) == (status, code)


async def test_health_needs_no_model_and_no_store(postgres_url: str) -> None:
    models = ObedientModels()
    models.is_up = False
    async with a_client(settings_over(None, postgres_url), models) as client:
        for path in ("/label-studio/ner", "/label-studio/ner/health", "/label-studio/auto/some-key/health"):
            assert (await client.get(path)).json() == {"status": "UP", "model_class": "prelabel"}


async def test_few_tasks_of_a_connected_project_are_labelled_at_once_and_once(postgres_url: str) -> None:
    models = ObedientModels()
    async with (
        a_client(settings_over(None, postgres_url), models) as client,
        connected(postgres_url) as (store, c, key),
    ):
        first = await predict(client, tasks("0.9", "fail"), key=key)
        asked = len(models.urgencies)
        second = await predict(client, tasks("0.9")[:1], key=key)

        assert first.json()["results"][0] == second.json()["results"][0]
        assert first.json()["results"][1] == []
        assert (asked, len(models.urgencies)) == (2, 2)
        assert await Deliveries(store, c.id).counts() == {"open": 1, "answered": 1}


async def test_a_project_that_is_not_connected_under_a_key_is_not_served(client: httpx.AsyncClient) -> None:
    answer = await predict(client, tasks("0.9"), key="0123456789ab-" + "x" * 43)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_connected")


async def test_many_tasks_become_a_run_and_the_answer_has_what_is_ready_in_time(postgres_url: str) -> None:
    settings = settings_over(None, postgres_url)
    hasty = settings.model_copy(
        update={"label_studio": settings.label_studio.model_copy(update={"answer_s": 2.0, "margin_s": 0.0})}
    )
    given = tasks("wait", *(f"0.{n + 10}" for n in range(40)))
    models = ObedientModels()
    async with (
        a_client(hasty, models) as client,
        connected(postgres_url) as (store, connection, key),
        working(hasty, models),
    ):
        answer = await predict(client, given, key=key)
        again = await predict(client, given, key=key)
        counts = await Deliveries(store, connection.id).counts()
        models.goes_on.set()

        slots = answer.json()["results"]
        assert [len(slots), slots.count([])] == [41, 1]
        assert slots[0] == []
        assert again.json()["results"] == [[]] * 41  # the others are on their way already
        assert counts == {"open": 1, "answered": 40}


async def test_a_webhook_is_a_hint_that_is_noted(postgres_url: str) -> None:
    async with a_client(settings_over(None, postgres_url)) as client, connected(postgres_url) as (store, c, key):
        path = f"/label-studio/ner/{key}/webhook"
        hints = [
            {"action": "TASKS_CREATED", "tasks": [{"id": 4}, {"id": 5}], "project": {"token": "secret"}},
            {"action": "ANNOTATION_UPDATED", "annotation": {"id": 6}, "task": {"id": 4}},
            {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 6}]},
            {"action": "PROJECT_UPDATED", "project": {}},
            {"action": "NEVER_HEARD_OF"},
            {"nothing": 1},
        ]

        answers = [await client.post(path, json=hint) for hint in hints]

        found = await Events(store, c.id).due()
        assert [answer.status_code for answer in answers] == [201] * 6
        assert [(event.action, event.ids) for event in found] == [
            ("tasks", (4, 5)),
            ("annotations", (6,)),
            ("annotations", (6,)),
        ]


async def test_only_the_key_admits_a_webhook_and_only_a_webhook(postgres_url: str) -> None:
    api_key, line = new_key()
    settings = settings_over(None, postgres_url, api_keys=(line,))
    async with a_client(settings) as client, connected(postgres_url) as (_, _, key):
        hint = {"action": "TASKS_CREATED", "tasks": [{"id": 4}]}
        other = "0123456789ab-" + "x" * 43

        by_key = await client.post(f"/label-studio/ner/{key}/webhook", json=hint)
        by_another = await client.post(f"/label-studio/ner/{other}/webhook", json=hint)
        without = await client.post("/label-studio/ner/webhook", json=hint)
        call = await predict(client, tasks("0.9"), key=key)
        client.headers["Authorization"] = httpx.BasicAuth("prelabel", api_key)._auth_header
        admitted = await predict(client, tasks("0.9"), key=key)

        statuses = [answer.status_code for answer in (by_key, by_another, without, call, admitted)]
        assert statuses == [201, 404, 401, 401, 200]


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("0123456789ab-" + "x" * 43, 404),
        ("0123456789ab-" + "x" * 42, 401),
        ("x", 401),
        ("A" * 12 + "-" + "x" * 43, 401),
    ],
)
async def test_of_whoever_has_no_key_not_a_byte_is_read(postgres_url: str, key: str, status: int) -> None:
    settings, read = settings_over(None, postgres_url, api_keys=(new_key()[1],)), list[int]()

    async def a_lot() -> AsyncIterator[bytes]:
        for _ in range(16):
            read.append(2**20)
            yield b"x" * 2**20

    async with a_client(settings) as client, streaming(client) as stranger:
        answer = await stranger.post(f"/label-studio/ner/{key}/webhook", content=a_lot())

    assert (answer.status_code, read) == (status, [])


@pytest.mark.parametrize("is_declared", [True, False])
async def test_a_webhook_larger_than_any_is_left_to_the_next_look(postgres_url: str, is_declared: bool) -> None:
    async with a_client(settings_over(None, postgres_url)) as client, connected(postgres_url) as (store, c, key):
        path, hint = f"/label-studio/ner/{key}/webhook", {"action": "TASKS_CREATED", "tasks": [{"id": 4}]}
        read = list[int]()

        async def padded(size: int) -> AsyncIterator[bytes]:
            for start in range(0, size, 2**20):
                read.append(start)
                yield json.dumps(hint).encode().ljust(2**20) if not start else b" " * 2**20

        async with streaming(client) as sender:
            declared = {"Content-Length": str(32 * 2**20)} if is_declared else {}
            large = await sender.post(path, content=padded(32 * 2**20), headers=declared)
            of_large, found = len(read), await Events(store, c.id).due()
            fitting = await sender.post(path, content=padded(8 * 2**20))

        assert (large.status_code, large.json()) == (201, {"status": "later"})
        assert (of_large, found) == (0 if is_declared else 9, [])
        assert (fitting.status_code, fitting.json()) == (201, {"status": "ok"})
        assert [event.ids for event in await Events(store, c.id).due()] == [(4,)]


@pytest.mark.parametrize(("n", "is_in_loop"), [(1, True), (200, True), (201, False), (5_000, False)])
async def test_many_tasks_are_read_beside_the_loop(postgres_url: str, n: int, is_in_loop: bool) -> None:
    threads = set[int]()

    class Watched(dict[str, Any]):
        """A task that knows which threads read it."""

        def get(self, key: str, default: Any = None, /) -> Any:
            threads.add(threading.get_ident())
            return super().get(key, default)

    given = [Watched(task) for task in tasks(*map(str, range(n)))]
    async with open_service(settings_over(None, postgres_url), ObedientModels()) as service:
        found = bound(service.settings, "ner", CONFIG)
        began = asyncio.get_running_loop().time()

        call = await answers.call_of(service, found, given, server_url=None, answer_s=5.0)

    assert threads
    assert (threading.get_ident() in threads) == is_in_loop
    assert [one.task_id for one in call.tasks if isinstance(one, Wanted)] == list(range(1, n + 1))
    assert began + 5.0 <= call.until < began + 5.5  # what the reading takes is a part of the answer's time


@pytest.mark.parametrize("body", [b"[1]", b"null", b'{"action": 1}'])
async def test_a_webhook_that_is_no_hint_is_ignored(postgres_url: str, body: bytes) -> None:
    async with a_client(settings_over(None, postgres_url)) as client, connected(postgres_url) as (_, _, key):
        answer = await client.post(f"/label-studio/ner/{key}/webhook", content=body)

    assert (answer.status_code, answer.json()) == (201, {"status": "ignored"})


async def test_overload_leaves_the_slots_empty(client: httpx.AsyncClient) -> None:
    answer = await predict(client, tasks("full", "full"))

    assert (answer.status_code, answer.json()["results"]) == (200, [[], []])


async def test_the_other_calls_are_answered(client: httpx.AsyncClient) -> None:
    for call, status in (("train", 201), ("job_status", 200), ("duplicate_model", 200), ("delete", 200)):
        assert (await client.post(f"/label-studio/ner/{call}", json={"project": "2.1"})).status_code == status
    good = await client.post("/label-studio/ner/validate", json={"config": CONFIG})
    bad = await client.post("/label-studio/ner/validate", json={"config": IMAGES})
    assert (good.status_code, bad.status_code) == (200, 400)


class KnownLabels(ObedientModels):
    """A tagger that says which labels it gives."""

    def __init__(self, *labels: str) -> None:
        super().__init__()
        self._labels = labels

    def use_of(self, model: str) -> ModelUse:
        return replace(super().use_of(model), labels=self._labels)


async def test_a_project_that_offers_none_of_the_models_labels_is_told_so(postgres_url: str) -> None:
    async with a_client(settings_over(None, postgres_url), KnownLabels("town", "date")) as client:
        told = await client.post("/label-studio/ner/setup", json={"schema": CONFIG})

        assert (told.status_code, told.json()["error"]["code"]) == (400, "unservable_config")
        assert "the model gives 'town', 'date'" in told.json()["error"]["message"]


@pytest.mark.parametrize(("labels", "wanted"), [(("person",), []), (("person", "town"), ["person"])])
async def test_only_labels_that_a_project_offers_are_asked_for(
    postgres_url: str, labels: tuple[str, ...], wanted: list[str]
) -> None:
    async with (
        a_client(settings_over(None, postgres_url), KnownLabels(*labels)) as client,
        connected(postgres_url) as (store, _, key),
    ):
        answer = await predict(client, tasks("0.9"), key=key)

        async with database.reading(store.engine) as db:
            asked = (await db.execute(text("SELECT prompts ->> 'labels' FROM items"))).scalar_one()
        assert json.loads(asked) == wanted
        assert len(answer.json()["results"][0]["result"]) == 1
