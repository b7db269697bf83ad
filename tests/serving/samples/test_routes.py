"""Checks the routes for samples over a real store: what may be asked, what is told, and what reviewers see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.serving.builders import a_client, settings_with

TEXTS = [f"0.{number:03}" for number in range(900, 930)]  # accepted, all of them


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_with(postgres_url)) as opened:
        yield opened


async def label(client: httpx.AsyncClient, run: str = "nightly") -> None:
    items = [
        {"id": f"t{number}", "task": "ner", "text": text, "meta": {"source": ("mail", "web")[number % 2]}}
        for number, text in enumerate(TEXTS)
    ]
    assert (await client.post("/v1/prelabel", json={"items": items, "run": run})).status_code == 200


async def ask(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    asked = {"run": "nightly", "task": "ner", "budget": 10, "strategy": "least_confidence", "seed": 1}
    return await client.post("/v1/samples", json=asked | body)


async def test_a_sample_is_told_with_reasons_and_can_be_read_again(client: httpx.AsyncClient) -> None:
    await label(client)

    posted = await ask(client, sample="monday", explore=0.2)
    repeated = await ask(client, sample="monday", explore=0.2)
    read = await client.get("/v1/samples/monday")

    assert (posted.status_code, repeated.status_code, read.status_code) == (200, 200, 200)
    assert posted.json() == repeated.json() == read.json()
    told = posted.json()
    assert (told["id"], told["task"], told["run"], told["seed"], told["queued"]) == ("monday", "ner", "nightly", 1, 10)
    assert [one["propensity"] for one in told["items"]] == [2 / 30] * 2 + [None] * 8
    first = told["items"][2]
    assert set(first) == {"id", "run", "reason", "utility", "propensity", "is_queued"}
    assert first["reason"].startswith("least_confidence: uncertainty 0.")
    assert first["utility"] == pytest.approx(0.1, abs=0.01)


async def test_reviewers_do_not_see_the_pre_label_of_what_was_drawn(client: httpx.AsyncClient) -> None:
    await label(client)
    told = (await ask(client, explore=0.5)).json()
    drawn = {one["id"] for one in told["items"] if one["propensity"] is not None}

    claimed = (await client.post("/v1/queues/texts/claim", json={"reviewer": "ada", "n": 100})).json()["tasks"]

    assert len(claimed) == 10
    blind = {task["item"]["id"] for task in claimed if not task["pre_label"]["prediction"]["annotations"]}
    assert blind == drawn
    assert "embedding" not in str(claimed)


async def test_a_trial_queues_nothing(client: httpx.AsyncClient) -> None:
    await label(client)

    told = (await ask(client, dry_run=True)).json()

    assert (len(told["items"]), told["queued"], told["created_at"]) == (10, 0, None)
    assert (await client.get("/v1/queues")).json() == {"queues": []}
    assert (await client.get(f"/v1/samples/{told['id']}")).status_code == 404


async def test_another_queue_slices_and_quotas_may_be_named(client: httpx.AsyncClient) -> None:
    await label(client)

    told = (await ask(client, queue="mine", group_by="source", quotas={"mail": 1}, explore=0)).json()

    assert sum(int(one["id"][1:]) % 2 == 0 for one in told["items"]) == 1
    [queue] = (await client.get("/v1/queues")).json()["queues"]
    assert (queue["name"], queue["pending"]) == ("mine", 10)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"budget": 0}, 422, "invalid_request"),
        ({"budget": 1_000_000}, 422, "invalid_request"),
        ({"strategy": "best"}, 422, "invalid_request"),
        ({"explore": 1.5}, 422, "invalid_request"),
        ({"colour": "red"}, 422, "invalid_request"),
        ({"sample": "no id at all"}, 422, "invalid_request"),
        ({"run": "none"}, 404, "not_found"),
        ({"task": None}, 422, "invalid_argument"),
        ({"strategy": "hybrid"}, 422, "invalid_argument"),
        ({"strategy": "margin"}, 422, "invalid_argument"),
        ({"quotas": {"mail": 1}}, 422, "invalid_argument"),
    ],
)
async def test_a_bad_request_is_refused_with_a_code(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str
) -> None:
    await label(client)

    answer = await ask(client, **body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


async def test_the_id_of_another_sample_is_a_conflict(client: httpx.AsyncClient) -> None:
    await label(client)
    await ask(client, sample="monday")

    answer = await ask(client, sample="monday", budget=11)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "sample_exists")
