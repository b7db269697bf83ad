"""Tests the client against the real routes over a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from pathlib import Path

import httpx
import pytest

from models.types import Item
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from pipelines.review import ReviewTask
from pipelines.store.store import Store
from serving.auth import new_key
from serving.client import AsyncClient, ClaimedTask, ServiceError
from tests.serving.builders import a_client, settings_with
from tests.serving.client.builders import Time, a_request
from tests.serving.runs.builders import CUT_OFF, a_drop, a_worker, settings_over, unsure_texts

pytestmark = CUT_OFF

MOST_BYTES, MOST_ITEMS = 20_000, 5


@pytest.fixture
async def http(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = settings_with(postgres_url, max_body_bytes=MOST_BYTES, max_items=MOST_ITEMS)
    async with a_client(settings) as opened:
        yield opened


def a_service_client(http: httpx.AsyncClient, api_key: str | None = None) -> AsyncClient:
    return AsyncClient("http://127.0.0.1:8000", api_key=api_key, http=http, surroundings=Time().surroundings())


@pytest.fixture
def client(http: httpx.AsyncClient) -> AsyncClient:
    return a_service_client(http)


async def streamed(client: AsyncClient, requests: list[Request], *, batch_items: int) -> list[Result]:
    return [result async for result in client.stream(requests, batch_items=batch_items)]


async def test_texts_and_bytes_are_labelled_in_order_and_a_bad_item_costs_no_other(client: AsyncClient) -> None:
    requests = [a_request("a", text="0.9"), a_request("b", data=b"fail"), a_request("c", data=b"0.5")]

    results = await client.pre_label(requests)

    assert [(result.id, result.status) for result in results] == [("a", "labels"), ("b", "failed"), ("c", "labels")]
    assert results[0].annotations[0].score == 0.9
    assert results[1].error is not None
    assert results[1].error.code == "model_failed"
    assert results[2].uncertainty == {"least_confidence": 0.5}
    assert results[2].decision is not None
    assert results[2].decision.route == "review"


async def test_more_items_than_a_call_may_have_come_back_all_the_same(client: AsyncClient) -> None:
    requests = [a_request(f"t{n}", text="0.9") for n in range(4 * MOST_ITEMS + 3)]

    assert [result.id for result in await client.pre_label(requests)] == [f"t{n}" for n in range(23)]
    assert [result.id for result in await streamed(client, requests, batch_items=10)] == [f"t{n}" for n in range(23)]


async def test_more_bytes_than_a_call_may_have_come_back_all_the_same_but_for_what_is_too_large_alone(
    client: AsyncClient,
) -> None:
    sizes = [9_000, 9_000, 9_000, 2 * MOST_BYTES, 100]
    requests = [a_request(f"t{n}", data=b"x" * size) for n, size in enumerate(sizes)]

    results = await client.pre_label(requests)

    assert [result.status for result in results] == ["nothing_found"] * 3 + ["failed", "nothing_found"]
    assert results[3].error is not None
    assert results[3].error.code == "too_large"
    assert str(MOST_BYTES) in results[3].error.message


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (Item(id="bad", media="text", text="\ud800"), "invalid_json"),
        (Item(id="x" * 300, media="text", text="0.9"), "invalid_request"),
        (Item(id="bad", media="text"), "invalid_item"),
        (Item(id="bad", media="text", text="0.9", uri="http://x/"), "invalid_item"),
    ],
    ids=["lone surrogate", "long id", "no content", "two contents"],
)
async def test_an_item_for_which_the_service_refuses_its_whole_call_fails_alone(
    client: AsyncClient, bad: Item, code: str
) -> None:
    requests = [a_request(f"t{n}", text="0.9") for n in range(4)]
    requests.insert(2, Request(item=bad, task="ner"))

    results = await client.pre_label(requests)

    assert [result.status for result in results] == ["labels", "labels", "failed", "labels", "labels"]
    assert results[2].error is not None
    assert results[2].error.code == code


@dataclass
class Lossy(httpx.AsyncBaseTransport):
    """Lets the service do its work, and loses its first answers."""

    inner: httpx.AsyncBaseTransport
    losses: int
    lost: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if self.lost < self.losses:
            self.lost += 1
            await response.aread()
            raise httpx.ReadError("the connection was reset")
        return response


async def test_a_call_whose_answer_was_lost_is_stored_once(http: httpx.AsyncClient, postgres_url: str) -> None:
    lossy = Lossy(inner=http._transport, losses=2)
    requests = [a_request("a", text="0.5"), a_request("b", text="0.9")]

    async with httpx.AsyncClient(transport=lossy) as own:
        results = await a_service_client(own).pre_label(requests)

    assert lossy.lost == 2
    assert [result.status for result in results] == ["labels", "labels"]
    async with Store.open(postgres_url) as store:
        [run] = await store.runs()
        stored = await store.results(run.id)
        [queue] = await store.queues()
    assert [one.outcome.item.id for one in stored] == ["a", "b"]
    assert queue.pending == 1


async def test_a_drop_that_is_streamed_again_into_its_run_is_stored_once(
    client: AsyncClient, postgres_url: str
) -> None:
    requests = [a_request(f"t{n}", text="0.5") for n in range(7)]

    one = [result async for result in client.stream(requests[:4], run="november", batch_items=2)]
    other = [result async for result in client.stream(requests, run="november", batch_items=3)]

    assert [result.id for result in one + other] == [*(f"t{n}" for n in range(4)), *(f"t{n}" for n in range(7))]
    async with Store.open(postgres_url) as store:
        assert len(await store.results("november")) == 7


async def test_a_persons_work_goes_through_the_client(client: AsyncClient) -> None:
    [labelled] = await client.pre_label([a_request("a", data=b"0.5")])
    assert labelled.decision is not None
    assert labelled.decision.route == "review"

    [queue] = await client.queues()
    [task] = await client.claim("texts", reviewer="ada", n=5)
    await client.heartbeat(task.id, reviewer="ada", attempt=task.attempt)
    await client.submit(
        task.id, task.pre_label.prediction.annotations, reviewer="ada", attempt=task.attempt, idempotency_key="k"
    )
    await client.submit(
        task.id, task.pre_label.prediction.annotations, reviewer="ada", attempt=task.attempt, idempotency_key="k"
    )

    assert (queue.name, queue.pending) == ("texts", 1)
    assert (task.item.text, task.task, task.is_blind) == ("0.5", "ner", False)
    assert task.pre_label.prediction.annotations == labelled.annotations
    [queue] = await client.queues()
    assert (queue.pending, queue.done) == (0, 1)
    with pytest.raises(ConflictError) as caught:
        await client.release(task.id, reviewer="ada", attempt=task.attempt)
    assert caught.value.code == "stale_lease"


async def test_models_and_samples_are_read_as_what_they_are(client: AsyncClient) -> None:
    await client.pre_label([a_request(f"t{n}", text="0.9") for n in range(4)])

    [model] = await client.models()
    sample = await client.samples(2, task="ner", strategy="least_confidence", dry_run=True)

    await client.health()
    assert (model.name, model.task, model.ready) == ("tagger", "ner", True)
    assert (sample.task, sample.strategy, sample.budget, sample.queued) == ("ner", "least_confidence", 2, 0)
    assert sample.items


async def test_what_the_service_refuses_is_raised_under_its_own_code(client: AsyncClient) -> None:
    with pytest.raises(NotFoundError):
        await client.run("none")
    with pytest.raises(NotFoundError):
        _ = [result async for result in client.results("none")]
    with pytest.raises(InvalidRequestError):
        await client.post_run("/nowhere/at/all", task="ner")


async def test_a_run_over_a_drop_is_posted_waited_for_and_read(postgres_url: str, tmp_path: Path) -> None:
    drop = a_drop(tmp_path / "drop", *unsure_texts(120), "fail")
    settings = settings_over(tmp_path, postgres_url)
    async with a_client(settings) as http:
        client = a_service_client(http)
        posted = await client.post_run(str(drop), task="ner", run="november")
        stopped = await client.stop("november")
        redriven = await client.redrive("november", [])
        async with a_worker(settings) as worker:
            assert await worker.work_on_next()
        run = await client.wait("november")
        results = [result async for result in client.results("november")]
        [failed] = [error async for error in client.errors("november", code="model_failed")]
        remarks, [known] = await client.remarks("november"), await client.runs()

    assert (posted.status, stopped.status, redriven.run.status) == ("queued", "cancelled", "queued")
    assert (run.status, run.labels, run.failed, known.id) == ("done", 120, 1, "november")
    assert sorted(result.id for result in results) == [f"{n:04}.txt" for n in range(121)]
    assert (failed.id, failed.code, remarks.findings) == ("0120.txt", "model_failed", ())


async def test_a_service_with_keys_takes_the_clients(postgres_url: str) -> None:
    key, line = new_key()
    async with a_client(settings_with(postgres_url, api_keys=[line])) as http:
        [result] = await a_service_client(http, key).pre_label([a_request("a", text="0.9")])
        with pytest.raises(ServiceError) as caught:
            await a_service_client(http, "pl_wrong").pre_label([a_request("a", text="0.9")])

    assert result.status == "labels"
    assert caught.value.code == "unauthorized"


def test_a_claimed_task_has_all_of_a_review_task_but_what_its_reviewer_must_not_know() -> None:
    assert {field.name: field.type for field in fields(ClaimedTask)} == {
        field.name: field.type for field in fields(ReviewTask) if field.name != "reason"
    }
