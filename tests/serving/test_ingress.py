"""Checks the HTTP routes over a real store: partial success, clear refusals, and the review queue."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from models.errors import PrelabelError
from pipelines.ontology import Class, Ontology
from pipelines.store.store import Store
from serving.auth import new_key
from serving.body import parse
from serving.ingress import PreLabelAnswer
from tests.serving.builders import ObedientModels, a_client, settings_with

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_with(postgres_url, max_body_bytes=100_000, max_items=50)) as opened:
        yield opened


def texts(*contents: str) -> dict[str, list[dict[str, str]]]:
    return {"items": [{"id": f"t{n}", "task": "ner", "text": text} for n, text in enumerate(contents)]}


async def test_every_item_gets_its_own_result_in_order(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/prelabel", json=texts("0.9", "fail", "nothing", "0.5"))

    results = response.json()["results"]
    assert response.status_code == 200
    assert [result["id"] for result in results] == ["t0", "t1", "t2", "t3"]
    assert [result["status"] for result in results] == ["labels", "failed", "nothing_found", "labels"]
    assert results[1]["error"] == {"code": "model_failed", "message": "told to fail", "attempts": 1}
    assert results[0]["decision"]["route"] == "accept"
    assert results[3]["decision"]["route"] == "review"
    assert results[3]["confidence"] is None
    assert results[3]["uncertainty"] == {"least_confidence": 0.5}
    assert results[3]["provenance"]["model"] == "tagger"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({}, "none of uri, text, data, part"),
        ({"text": "0.9", "uri": "http://x"}, "uri and text"),
        ({"data": "not base64!"}, "base64"),
        ({"data": "MC45é==="}, "base64"),
        ({"data": "MC4"}, "base64"),
    ],
)
async def test_an_item_without_usable_content_fails_alone(
    client: httpx.AsyncClient, item: dict[str, str], said: str
) -> None:
    body = texts("0.9")
    body["items"].append({"id": "bad", "task": "ner"} | item)

    results = (await client.post("/v1/prelabel", json=body)).json()["results"]

    assert results[0]["status"] == "labels"
    assert results[1]["error"]["code"] == "invalid_item"
    assert said in results[1]["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"{}", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b'{"items": []}', 422, "invalid_request"),
        (b'{"items": [{"id": "a", "task": "dance", "text": "x"}]}', 422, "invalid_request"),
        (b'{"items": [{"id": "a", "task": "ner", "text": 123}]}', 422, "invalid_request"),
        (b'{"items": [{"id": "a", "task": "ner", "text": "x", "colour": 1}]}', 422, "invalid_request"),
        (b'{"items": [{"id": "a", "task": "ner", "text": "x"}], "deadline_s": -1}', 422, "invalid_request"),
        (b"not json", 400, "invalid_json"),
        (b'{"items": [], "deadline_s": NaN}', 400, "invalid_json"),
        (b'{"items": [], "deadline_s": 1e400}', 400, "invalid_json"),
        (b'{"items": [{"id": "a", "task": "ner", "text": "\\ud800"}]}', 400, "invalid_json"),
        (b'{"items": []} trailing', 400, "invalid_json"),
        (b"\xff\xfe{\x00}\x00", 400, "invalid_json"),
        (b"[" * 150 + b"]" * 150, 400, "invalid_json"),
        (b"[" * 50_000 + b"]" * 50_000, 400, "invalid_json"),
        (b'{"a": ' + b"9" * 5_000 + b"}", 400, "invalid_json"),
        (b" " * 200_000, 413, "too_large"),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused_clearly(
    client: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    response = await client.post("/v1/prelabel", content=body, headers=JSON)

    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert len(response.json()["error"]["message"]) > 20


async def test_a_body_without_a_declared_length_is_cut_off_too(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b" " * 1_000

    response = await client.post("/v1/prelabel", content=endless(), headers=JSON)

    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"


async def test_too_many_items_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/prelabel", json=texts(*["0.9"] * 51))

    assert response.status_code == 413
    assert "at most 50" in response.json()["error"]["message"]


async def test_the_answer_to_many_items_reads_as_that_to_few(postgres_url: str) -> None:
    async with a_client(settings_with(postgres_url)) as client:
        many = await client.post("/v1/prelabel", json=texts(*["0.9", "fail", "nothing"] * 50))
        few = await client.post("/v1/prelabel", json=texts("0.9", "fail", "nothing"))

    results, alone = many.json()["results"], few.json()["results"]
    assert many.headers["Content-Type"] == few.headers["Content-Type"] == "application/json"
    assert [result["id"] for result in results] == [f"t{n}" for n in range(150)]
    for result in results + alone:
        result.pop("id")
        if result["provenance"]:
            result["provenance"].pop("created_at")
    assert results == alone * 50
    assert [result["status"] for result in alone] == ["labels", "failed", "nothing_found"]
    assert len(PreLabelAnswer.model_validate_json(many.content).results) == 150


async def test_the_answer_says_what_the_rules_found_and_which_labels_have_no_class(postgres_url: str) -> None:
    ontology = Ontology(classes=(Class(name="place"),))
    settings = settings_with(postgres_url).model_copy(update={"ontology": ontology})
    async with a_client(settings) as client:
        body = texts(" .9", "0.9", "fail")
        odd, plain, failed = (await client.post("/v1/prelabel", json=body)).json()["results"]

    [finding] = odd["findings"]
    assert (finding["rule"], finding["annotation_id"], finding["action"]) == ("untrimmed_span", "0", "changed")
    assert "begins or ends in white space" in finding["message"]
    assert odd["annotations"][0]["geometry"] == {"start": 1, "end": 3, "kind": "text_span"}
    assert odd["annotations"][0]["attributes"] == {"unmapped": True}
    assert odd["unmapped"] == plain["unmapped"] == {"person": 1}
    assert (plain["findings"], odd["more_findings"]) == ([], [])
    assert (failed["findings"], failed["more_findings"], failed["unmapped"]) == ([], [], {})
    assert odd["provenance"]["rules_digest"] == settings.standards.rules_digest
    assert odd["provenance"]["ontology_digest"] == ontology.digest()


async def test_overload_is_429_when_nothing_got_through(client: httpx.AsyncClient) -> None:
    nothing = await client.post("/v1/prelabel", json=texts("full", "full"))
    something = await client.post("/v1/prelabel", json=texts("full", "0.9"))

    assert nothing.status_code == 429
    assert int(nothing.headers["Retry-After"]) > 0
    assert something.status_code == 200
    assert something.json()["results"][0]["error"]["code"] == "overloaded"


@pytest.mark.parametrize(("seconds", "least", "most"), [(None, 1, 1), (8.0, 8, 10), (900.0, 48, 60)])
async def test_a_refused_client_is_told_when_there_will_be_room(
    postgres_url: str, seconds: float | None, least: int, most: int
) -> None:
    models = ObedientModels()
    models.seconds = seconds
    async with a_client(settings_with(postgres_url), models) as client:
        refused = await client.post("/v1/prelabel", json=texts("full"))

    assert refused.status_code == 429
    assert least <= int(refused.headers["Retry-After"]) <= most


async def test_an_unknown_path_answers_in_the_same_form(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/nothing")

    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


async def test_repeating_a_call_of_a_named_run_stores_and_queues_once(client: httpx.AsyncClient) -> None:
    body = texts("0.5") | {"run": "nightly"}

    for _ in range(2):
        assert (await client.post("/v1/prelabel", json=body)).status_code == 200

    [queue] = (await client.get("/v1/queues")).json()["queues"]
    assert (queue["name"], queue["pending"]) == ("texts", 1)


async def test_a_person_claims_keeps_and_answers_a_review(client: httpx.AsyncClient) -> None:
    await client.post("/v1/prelabel", json=texts("0.5", "0.9", "0.3"))

    claimed = (await client.post("/v1/queues/texts/claim", json={"reviewer": "ada", "n": 5})).json()["tasks"]
    lease = {"reviewer": "ada", "attempt": claimed[0]["attempt"]}
    kept = await client.post(f"/v1/reviews/{claimed[0]['id']}/heartbeat", json=lease)
    released = await client.post(f"/v1/reviews/{claimed[1]['id']}/release", json=lease)
    answer = lease | {"annotations": claimed[0]["pre_label"]["prediction"]["annotations"], "seconds": 4.5}
    submitted = await client.post(f"/v1/reviews/{claimed[0]['id']}/submit", json=answer)
    again = await client.post(f"/v1/reviews/{claimed[0]['id']}/submit", json=answer)

    assert [task["item"]["text"] for task in claimed] == ["0.3", "0.5"]  # the least certain first
    assert (kept.status_code, released.status_code, submitted.status_code) == (200, 200, 200)
    assert again.status_code == 409
    [queue] = (await client.get("/v1/queues")).json()["queues"]
    assert (queue["pending"], queue["done"]) == (1, 1)


async def test_whoever_reviews_sees_the_item_and_not_the_reason(client: httpx.AsyncClient) -> None:
    as_data = {"id": "d", "task": "ner", "data": base64.b64encode(b" 0.4\r\n").decode()}
    await client.post("/v1/prelabel", json={"items": [as_data]})

    [task] = (await client.post("/v1/queues/texts/claim", json={"reviewer": "ada"})).json()["tasks"]

    assert task["item"]["text"] == " 0.4\r\n"
    assert task["has_content"] is False
    assert "reason" not in task
    assert (await client.get(f"/v1/reviews/{task['id']}/content")).status_code == 404


async def test_a_review_that_nobody_queued_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/reviews/999/release", json={"reviewer": "ada", "attempt": 1})

    assert response.status_code == 404


async def test_models_and_metrics_say_what_runs(client: httpx.AsyncClient) -> None:
    await client.post("/v1/prelabel", json=texts("0.9", "fail"))

    [model] = (await client.get("/v1/models")).json()["models"]
    metrics = (await client.get("/metrics")).text

    assert (model["name"], model["weights_digest"]) == ("tagger", "w" * 64)
    assert 'prelabel_items_total{outcome="accept",task="ner"} 1.0' in metrics
    assert 'prelabel_items_total{outcome="model_failed",task="ner"} 1.0' in metrics


async def test_readiness_follows_the_models(postgres_url: str) -> None:
    models = ObedientModels()

    async with a_client(settings_with(postgres_url), models) as client:
        up = await client.get("/readyz")
        models.is_up = False
        down = await client.get("/readyz")
        alive = [await client.get(path) for path in ("/healthz", "/livez")]

    assert (up.status_code, down.status_code) == (200, 503)
    assert [answer.json() for answer in alive] == [{"status": "ok"}] * 2


async def test_a_model_that_has_stopped_says_why(postgres_url: str) -> None:
    models = ObedientModels()
    async with a_client(settings_with(postgres_url), models) as client:
        [running] = (await client.get("/v1/models")).json()["models"]
        models.is_up = False
        [stopped] = (await client.get("/v1/models")).json()["models"]

    assert (running["ready"], running["problem"]) == (True, None)
    assert (stopped["ready"], stopped["problem"]) == (False, "told to be down")


async def test_calls_beyond_those_that_may_be_in_work_are_refused_for_now_and_health_is_not(postgres_url: str) -> None:
    models = ObedientModels()
    async with a_client(settings_with(postgres_url, max_calls=1), models) as client:
        waiting = asyncio.create_task(client.post("/v1/prelabel", json=texts("wait")))
        await models.waits.wait()
        refused = await client.post("/v1/prelabel", json=texts("0.9"))
        others = [await client.get(path) for path in ("/healthz", "/v1/models", "/v1/queues")]
        models.goes_on.set()
        answered = await waiting
        again = await client.post("/v1/prelabel", json=texts("0.9"))

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
    assert int(refused.headers["Retry-After"]) > 0
    assert [other.status_code for other in others] == [200] * 3
    assert (answered.status_code, again.status_code) == (200, 200)


async def test_bodies_that_together_fill_their_memory_are_refused_for_now(postgres_url: str) -> None:
    models = ObedientModels()
    body = texts("wait", "x" * 60_000)
    async with a_client(settings_with(postgres_url, max_bodies_bytes=100_000), models) as client:
        waiting = asyncio.create_task(client.post("/v1/prelabel", json=body))
        await models.waits.wait()
        refused = await client.post("/v1/prelabel", json=body)
        models.goes_on.set()
        answered = await waiting
        again = await client.post("/v1/prelabel", json=body)

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
    assert int(refused.headers["Retry-After"]) > 0
    assert (answered.status_code, again.status_code) == (200, 200)


async def test_a_calls_priority_and_deadline_reach_the_models(postgres_url: str) -> None:
    models = ObedientModels()
    async with a_client(settings_with(postgres_url), models) as client:
        await client.post("/v1/prelabel", json=texts("0.9") | {"priority": "bulk", "deadline_s": 20})
        await client.post("/v1/prelabel", json=texts("0.9"))
        refused = await client.post("/v1/prelabel", json=texts("0.9") | {"priority": "urgent"})

    [(bulk, bulk_s), (interactive, interactive_s)] = models.urgencies
    assert (bulk, interactive) == ("bulk", "interactive")
    assert bulk_s is not None
    assert interactive_s is not None
    assert bulk_s <= 20 < interactive_s <= 60
    assert refused.status_code == 422


async def test_a_store_that_is_away_is_said_to_be_and_comes_back(
    client: httpx.AsyncClient, block_database: Callable[[bool], None]
) -> None:
    assert (await client.post("/v1/prelabel", json=texts("0.5"))).status_code == 200
    block_database(True)

    refused = await client.post("/v1/prelabel", json=texts("0.5"))
    ready = await client.get("/readyz")
    block_database(False)
    again = await client.post("/v1/prelabel", json=texts("0.5"))

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert (ready.status_code, again.status_code) == (503, 200)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:8000", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("localhost:8000@evil.example", 403),
        ("", 403),
    ],
)
async def test_without_keys_only_names_of_this_machine_are_answered(
    client: httpx.AsyncClient, host: str, status: int
) -> None:
    response = await client.get("/v1/queues", headers={"Host": host})

    assert response.status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:8000", 200),
        ("https://evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("null", 403),
    ],
)
async def test_without_keys_a_strangers_page_cannot_send_a_form(
    client: httpx.AsyncClient, origin: str, status: int
) -> None:
    request = '{"items": [{"id": "a", "task": "ner", "text": "0.9"}]}'

    response = await client.post("/v1/prelabel", files={"request": (None, request)}, headers={"Origin": origin})

    assert response.status_code == status


async def test_a_key_of_the_body_is_not_echoed_whole(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/prelabel", json=texts("0.5") | {"x" * 50_000: 1})

    assert response.status_code == 422
    assert len(response.content) < 1_000


async def test_calls_without_a_run_leave_finished_runs_and_shed_ones_leave_none(
    client: httpx.AsyncClient, postgres_url: str
) -> None:
    for text in ("0.9", "full"):
        await client.post("/v1/prelabel", json=texts(text))

    async with Store.open(postgres_url) as store:
        [run] = await store.runs()
    assert (run.status, run.finished_at is None) == ("done", False)


async def test_with_keys_only_health_is_open(postgres_url: str) -> None:
    key, line = new_key()

    async with a_client(settings_with(postgres_url, api_keys=(line,))) as client:
        closed = [(await client.get(path)).status_code for path in ("/v1/models", "/v1/queues", "/metrics")]
        opened = await client.get("/v1/models", headers={"X-API-Key": key})
        health = await client.get("/healthz")
        unread = await client.post("/v1/prelabel", content=b"not json", headers=JSON)

    assert closed == [401, 401, 401]
    assert (opened.status_code, health.status_code) == (200, 200)
    assert unread.status_code == 401


async def test_the_api_describes_itself_with_an_example(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()

    example = schema["components"]["schemas"]["PreLabelBody"]["examples"][0]
    assert {item["task"] for item in example["items"]} == {"ner", "detection"}
    assert "/v1/prelabel" in schema["paths"]


def test_finite_numbers_pass_and_depth_is_counted() -> None:
    assert parse(b'{"a": [1.5, null, {"b": true}]}', max_depth=4) == {"a": [1.5, None, {"b": True}]}
    with pytest.raises(PrelabelError, match="deeper than 3"):
        parse(b'{"a": [1.5, null, {"b": true}]}', max_depth=3)


@pytest.mark.parametrize("sign", [b"[", b"{", b","])
def test_a_body_of_too_many_values_is_refused_before_it_is_read(sign: bytes) -> None:
    with pytest.raises(PrelabelError, match="2000001 values") as refused:
        parse(sign * 2_000_001, max_depth=4)

    assert refused.value.code == "too_large"


def test_a_long_string_is_no_more_than_one_value() -> None:
    assert parse(b'{"data": "' + b"A" * 3_000_000 + b'"}', max_depth=4) == {"data": "A" * 3_000_000}
