"""Checks over HTTP what reviewers are shown, and what is told of their corrections."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest

from models.types import Annotation, Item, TextSpan
from pipelines.review import ReviewQueue
from pipelines.store.store import Store
from pipelines.types import Route
from tests.pipelines.builders import a_labelled, a_pre_label
from tests.serving.builders import a_client, settings_with

ADA = Annotation(id="0", label="person", geometry=TextSpan(start=0, end=3), score=0.5, text="Ada")
LISBON = {"id": "1", "label": "place", "geometry": {"kind": "text_span", "start": 13, "end": 19}, "score": 1.0}


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_with(postgres_url)) as opened:
        yield opened


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    async with Store.open(postgres_url) as opened:
        yield opened


async def queued(store: Store, name: str, route: Route = "review", *, is_blind: bool = False) -> None:
    item = Item(id=name, media="text", text="Ada lives in Lisbon", meta={"source": name})
    labelled = a_labelled(
        route=route, queue="texts", task="ner", item=item, pre_label=a_pre_label(ADA), is_blind=is_blind
    )
    await store.save([labelled], run_id=await store.start_run("a drop", run_id="drop"))


async def test_an_audit_looks_like_any_other_blind_task(client: httpx.AsyncClient, store: Store) -> None:
    for route in ("audit", "scratch", "review"):
        await queued(store, route, route, is_blind=True)

    tasks = (await client.post("/v1/queues/texts/claim", json={"reviewer": "ada", "n": 9})).json()["tasks"]

    assert len(tasks) == 3
    for task in tasks:
        assert not {"reason", "route", "stream", "uniform_rate", "propensity"} & task.keys()
        for name in ("id", "item", "priority", "lease_until"):
            del task[name]
    assert tasks[0] == tasks[1] == tasks[2]
    assert tasks[0]["is_blind"]
    assert tasks[0]["pre_label"]["prediction"]["annotations"] == []
    assert tasks[0]["pre_label"]["provenance"]["policy_id"] is None


async def test_a_planted_task_looks_like_any_other_that_is_shown(client: httpx.AsyncClient, store: Store) -> None:
    await queued(store, "a")
    queue = ReviewQueue(store)
    [task] = await queue.claim("texts", reviewer="bob")
    await queue.submit(task.id, 1, reviewer="bob", annotations=[ADA])
    await queue.plant("texts", 1, rng=np.random.default_rng(0))
    await queued(store, "b")

    tasks = (await client.post("/v1/queues/texts/claim", json={"reviewer": "ada", "n": 9})).json()["tasks"]

    assert len(tasks) == 2
    for task in tasks:
        for name in ("id", "item", "lease_until"):
            del task[name]
        del task["pre_label"]["prediction"]["annotations"]
    assert tasks[0] == tasks[1]


async def test_what_was_changed_is_told_group_by_group(client: httpx.AsyncClient, store: Store) -> None:
    for name, answer in (("a", [ADA]), ("b", [ADA, LISBON])):
        await queued(store, name)
        [task] = (await client.post("/v1/queues/texts/claim", json={"reviewer": "ada"})).json()["tasks"]
        annotations = [task["pre_label"]["prediction"]["annotations"][0], *answer[1:]]
        body = {"reviewer": "ada", "attempt": 1, "annotations": annotations, "seconds": 3}
        assert (await client.post(f"/v1/reviews/{task['id']}/submit", json=body)).status_code == 200

    whole = (await client.get("/v1/corrections")).json()
    by_label = (await client.get("/v1/corrections", params={"by": "label", "run": "drop", "task": "ner"})).json()
    chosen = (await client.get("/v1/corrections", params={"by": "slice:source", "slice": "source=b"})).json()

    [group] = whole["groups"]
    assert (group["reviews"], group["untouched_rate"], group["acceptance_rate"]) == (2, 0.5, 1.0)
    assert (group["errors"], group["seconds"], group["cost"]) == ({"missed": 1}, 3.0, 2.0)
    assert [(g["group"], g["unchanged"], g["added"]) for g in by_label["groups"]] == [("person", 2, 0), ("place", 0, 1)]
    assert by_label["groups"][0]["cost"] is None
    assert [(g["group"], g["reviews"]) for g in chosen["groups"]] == [("b", 1)]


@pytest.mark.parametrize(
    "asked",
    [
        {"by": "colour"},
        {"slice": "source"},
        {"task": "dance"},
        {"since": "yesterday"},
        {"since": "2026-05-01T12:00:00"},
    ],
)
async def test_what_makes_no_sense_is_refused(client: httpx.AsyncClient, asked: dict[str, str]) -> None:
    assert (await client.get("/v1/corrections", params=asked)).status_code == 422


async def test_without_reviews_there_are_no_groups(client: httpx.AsyncClient) -> None:
    asked = {"since": "2026-05-01T12:00:00Z", "by": "week"}

    assert (await client.get("/v1/corrections", params=asked)).json() == {"by": "week", "groups": []}
