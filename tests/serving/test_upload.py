"""Checks calls that bring their files as parts of a form."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.serving.builders import ObedientModels, a_client, settings_with

LARGE = 2**21  # Starlette keeps a file of this size on disk


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_with(postgres_url, max_body_bytes=2 * LARGE, max_items=5)) as opened:
        yield opened


def items(*parts: str) -> bytes:
    named = [{"id": f"t{n}", "task": "ner", "part": part} for n, part in enumerate(parts)]
    return json.dumps({"items": named}).encode()


def form(request: bytes, *files: tuple[str, bytes]) -> list[tuple[str, tuple[str | None, bytes]]]:
    return [("request", (None, request)), *((name, (f"{name}.txt", content)) for name, content in files)]


async def test_items_are_labelled_from_the_parts_that_they_name(client: httpx.AsyncClient) -> None:
    files = form(items("b", "a", "large"), ("a", b"0.9"), ("b", b"0.5"), ("large", b"x" * LARGE))

    response = await client.post("/v1/prelabel", files=files)

    results = response.json()["results"]
    assert response.status_code == 200
    assert [result["id"] for result in results] == ["t0", "t1", "t2"]
    assert [len(result["annotations"]) for result in results] == [1, 1, 0]
    assert [result["annotations"][0]["score"] for result in results[:2]] == [0.5, 0.9]


async def test_the_json_may_come_as_a_file_and_a_part_may_serve_several_items(client: httpx.AsyncClient) -> None:
    files = [("request", ("request.json", items("a", "a"))), ("a", ("a.txt", b"0.9"))]

    results = (await client.post("/v1/prelabel", files=files)).json()["results"]

    assert [result["annotations"][0]["score"] for result in results] == [0.9, 0.9]


async def test_an_item_whose_part_did_not_come_fails_alone(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/prelabel", files=form(items("a", "missing"), ("a", b"0.9")))

    good, bad = response.json()["results"]
    assert good["status"] == "labels"
    assert bad["error"]["code"] == "invalid_item"
    assert "'missing'" in bad["error"]["message"]


async def test_an_item_that_is_too_large_fails_alone(postgres_url: str) -> None:
    settings = settings_with(postgres_url)
    small = settings.model_copy(update={"fetch": type(settings.fetch)(max_bytes=10)})
    async with a_client(small) as client:
        files = form(items("large", "a"), ("large", b"x" * 11), ("a", b"0.9"))
        bad, good = (await client.post("/v1/prelabel", files=files)).json()["results"]

    assert bad["error"]["code"] == "too_large"
    assert good["status"] == "labels"


async def test_a_part_in_a_call_without_parts_fails_its_item(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/prelabel", content=items("a"), headers={"Content-Type": "application/json"})

    [bad] = response.json()["results"]
    assert "multipart/form-data" in bad["error"]["message"]


@pytest.mark.parametrize(
    ("files", "status", "said"),
    [
        (form(items("a"), ("a", b"0.9"), ("b", b"0.9")), 422, "no item names part 'b'"),
        (form(items("a"), ("a", b"0.9"), ("a", b"0.5")), 422, "repeats part 'a'"),
        (form(items("a"), ("a", b"0.9"), ("request", b"{}")), 422, "repeats part 'request'"),
        ([("a", ("a.txt", b"0.9"))], 422, "no part 'request'"),
        (form(b"not json", ("a", b"0.9")), 400, "not strict JSON"),
        (form(b"{}", ("a", b"0.9")), 422, "items"),
        ([*form(items("a")), ("a", (None, b"0.9"))], 422, "part 'a' came without a file name"),
        (form(items("a"), *((f"f{n}", b"0.9") for n in range(7))), 400, "Too many files"),
        (form(items("a"), ("a", b"x" * 3 * LARGE)), 413, "larger than"),
        (form(items("a", "a", "a"), ("a", b"x" * LARGE)), 413, "send fewer items"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_form_that_cannot_be_used_is_refused_clearly(
    client: httpx.AsyncClient, files: list[tuple[str, tuple[str | None, bytes]]], status: int, said: str
) -> None:
    response = await client.post("/v1/prelabel", files=files)

    assert response.status_code == status
    assert said in response.json()["error"]["message"]


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=b"])
async def test_a_body_that_is_no_form_is_refused_clearly(client: httpx.AsyncClient, content_type: str) -> None:
    response = await client.post("/v1/prelabel", content=b"{}", headers={"Content-Type": content_type})

    assert response.status_code == 400
    assert response.json()["error"]["message"]


async def test_forms_in_work_take_no_more_memory_than_other_bodies(postgres_url: str) -> None:
    models = ObedientModels()
    async with a_client(settings_with(postgres_url, max_bodies_bytes=LARGE), models) as client:
        refused = await client.post("/v1/prelabel", files=form(items("a"), ("a", b"x" * LARGE)))
        answered = await client.post("/v1/prelabel", files=form(items("a"), ("a", b"0.9")))

    assert (refused.status_code, answered.status_code) == (429, 200)


async def test_only_pre_labelling_takes_a_form(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/queues/texts/claim", files=form(b'{"reviewer": "ada"}'))

    assert response.status_code == 422


async def test_the_api_describes_the_form_and_the_json(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()

    content = schema["paths"]["/v1/prelabel"]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/PreLabelBody"}
    assert content["multipart/form-data"]["schema"]["properties"]["request"] == content["application/json"]["schema"]
    assert "part" in schema["components"]["schemas"]["ItemBody"]["properties"]
    assert "-F shelf=@shelf.jpg" in schema["paths"]["/v1/prelabel"]["post"]["description"]
