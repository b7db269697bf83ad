"""Checks the promises of the running service: real HTTP, real Ray Serve, real models, real PostgreSQL."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
import soundfile

from models.types import MEDIA_OF_TASK
from pipelines.formats.results import RESULT
from serving import listeners
from serving.client import AsyncClient, Client, Item, Request
from serving.demo import DROP
from tests.serving.conftest import forwarded_after_leaving, noisy_pngs
from tests.serving.test_readme import blocks

# All tests of the service stand in this file: a worker gets whole files, so the service starts once.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(1_200)]

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def client(service: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service, timeout=120, trust_env=False) as opened:
        yield opened


def sent(content: bytes) -> dict[str, str]:
    return {"data": base64.b64encode(content).decode()}


def a_file(name: str) -> dict[str, str]:
    return sent((DROP / name).read_bytes())


def a_nan_wav() -> bytes:
    file = BytesIO()
    soundfile.write(file, np.full(8_000, np.nan, np.float32), 16_000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_twelve_items_of_four_tasks_three_of_them_bad_come_back_in_order(client: httpx.Client) -> None:
    whole_jpeg = (DROP / "detection" / "easy_00.jpg").read_bytes()
    contents = [
        ("detection", sent(whole_jpeg)),
        ("ner", {"text": "Ada Varga moved to Lisbon on 3 May 2021."}),
        ("speech", a_file("speech/clean_00.wav")),
        ("detection", sent(whole_jpeg[: len(whole_jpeg) // 2])),
        ("segmentation", a_file("segmentation/easy_02.png")),
        ("detection", {"uri": "http://127.0.0.1/"}),
        ("segmentation", a_file("segmentation/easy_00.jpg")),
        ("speech", sent(a_nan_wav())),
        ("speech", a_file("speech/clean_02.mp3")),
        ("ner", a_file("ner/easy_00.txt")),
        ("ner", a_file("ner/easy_01.txt")),
        ("detection", a_file("detection/easy_02.png")),
    ]
    items = [{"id": f"item {n}", "task": task} | content for n, (task, content) in enumerate(contents)]

    response = client.post("/v1/prelabel", json={"items": items})

    results = response.json()["results"]
    assert response.status_code == 200
    assert [result["id"] for result in results] == [item["id"] for item in items]
    failed = {n: result["error"]["code"] for n, result in enumerate(results) if result["status"] == "failed"}
    assert failed == {3: "unreadable_image", 5: "blocked_url", 7: "unreadable_audio"}
    good = [result for result in results if result["status"] != "failed"]
    assert all(result["annotations"] for result in good)
    assert all(0.0 <= annotation["score"] <= 1.0 for result in good for annotation in result["annotations"])
    assert all(0.0 <= value <= 1.0 for result in good for value in result["uncertainty"].values())
    assert all(result["decision"]["reason"] and not result["calibrated"] for result in good)


def test_masks_carry_the_label_of_the_box_they_came_from(client: httpx.Client) -> None:
    item = {"id": "scene", "task": "segmentation"} | a_file("segmentation/easy_00.jpg")

    [result] = client.post("/v1/prelabel", json={"items": [item]}).json()["results"]

    by_id = {annotation["id"]: annotation for annotation in result["annotations"]}
    masks = [annotation for annotation in by_id.values() if annotation["geometry"]["kind"] == "mask"]
    assert masks
    assert all(by_id[mask["parent_id"]]["label"] == mask["label"] for mask in masks)


def test_a_doubtful_item_can_be_claimed_and_answered_by_a_person(client: httpx.Client) -> None:
    items = [{"id": f"h{n}", "task": "ner"} | a_file(f"ner/hard_0{n}.txt") for n in range(6)]
    results = client.post("/v1/prelabel", json={"items": items}).json()["results"]
    assert any(result["decision"]["route"] == "review" for result in results)

    [task] = client.post("/v1/queues/texts/claim", json={"reviewer": "ada"}).json()["tasks"]
    answer = {"reviewer": "ada", "attempt": task["attempt"], "annotations": [], "seconds": 3.0}
    done = client.post(f"/v1/reviews/{task['id']}/submit", json=answer)
    late = client.post(f"/v1/reviews/{task['id']}/submit", json=answer)

    assert (done.status_code, late.status_code) == (200, 409)


def test_whoever_reviews_gets_the_bytes_that_were_sent(client: httpx.Client) -> None:
    files = sorted((DROP / "detection").glob("out_of_domain_*"))
    items = [{"id": file.name, "task": "detection"} | sent(file.read_bytes()) for file in files]
    results = client.post("/v1/prelabel", json={"items": items}).json()["results"]
    doubtful = [result["id"] for result in results if result["decision"]["route"] == "review"]
    assert doubtful

    tasks = client.post("/v1/queues/images/claim", json={"reviewer": "ada", "n": 100}).json()["tasks"]
    task = next(task for task in tasks if task["item"]["id"] == doubtful[0] and task["has_content"])
    content = client.get(f"/v1/reviews/{task['id']}/content")

    assert content.content == (DROP / "detection" / doubtful[0]).read_bytes()
    assert content.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"items": [{"id": "a", "task": "ner", "text": NaN}]}', 400),
        (b'{"items": [{"id": "a", "task": "ner", "text": "a"}], "deadline_s": 1e400}', 400),
        (b'{"items": [{"id": "a", "task": "ner", "text": "\\ud800"}]}', 400),
        (b" " * (200 * 2**20), 413),
    ],
    ids=["NaN", "1e400", "lone surrogate", "200 MB"],
)
def test_a_hostile_body_gets_a_clear_refusal(client: httpx.Client, body: bytes, status: int) -> None:
    response = client.post("/v1/prelabel", content=body, headers=JSON)

    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_a_client_cannot_set_serves_own_timeout(client: httpx.Client) -> None:
    item = {"id": "a", "task": "ner"} | a_file("ner/easy_00.txt")

    answer = client.post("/v1/prelabel", json={"items": [item]}, headers={"x-request-timeout-seconds": "0.0001"})

    assert answer.status_code == 200


def test_what_nobody_waits_for_any_more_is_not_computed(client: httpx.Client) -> None:
    items = noisy_pngs(100)

    assert forwarded_after_leaving(client, items) < len(items)


def test_nothing_but_calls_between_replicas_is_open_to_other_machines(service: str) -> None:
    root = listeners.owner(httpx.URL(service).port or 0, program="prelabel")
    assert root is not None

    open_to_others = [listener for listener in listeners.of_tree(root) if not listener.is_loopback]

    assert all(listener.process.startswith("ray::ServeReplica") for listener in open_to_others)
    assert len({listener.pid for listener in open_to_others}) == len(open_to_others)


def test_a_posted_run_over_a_folder_gives_what_a_call_with_its_files_gives(client: httpx.Client) -> None:
    pattern = str(DROP / "ner" / "easy_0*.txt")
    run = client.post("/v1/runs", json={"drop": pattern, "task": "ner"})
    assert run.status_code == 202, run.text
    path, outside = run.headers["Location"], client.post("/v1/runs", json={"drop": "/etc", "task": "ner"})

    while (state := client.get(path).json())["status"] in ("queued", "running"):
        pass
    lines = client.get(f"{path}/results", headers={"Accept": "application/x-ndjson"}).text.splitlines()
    files = sorted((DROP / "ner").glob("easy_0*.txt"))
    items = [{"id": file.name, "task": "ner"} | sent(file.read_bytes()) for file in files]
    called = client.post("/v1/prelabel", json={"items": items}).json()["results"]

    results = sorted(map(json.loads, lines), key=lambda result: result["id"])
    for result in results + called:
        result["provenance"].pop("created_at")
    assert (state["status"], state["reason"], state["attempt"]) == ("done", None, 1)
    assert len(results) == len(files) > 2
    assert [result["id"] for result in results] == [result["id"] for result in called]
    assert _rounded(results) == _rounded(called)
    assert outside.json()["error"]["code"] == "blocked_url"


def test_the_service_says_what_it_runs(client: httpx.Client) -> None:
    models = client.get("/v1/models").json()["models"]

    assert {model["task"] for model in models} == {"detection", "segmentation", "ner", "speech"}
    assert all(len(model["weights_digest"]) == 64 for model in models)
    assert client.get("/readyz").status_code == 200
    assert "prelabel_items_total" in client.get("/metrics").text
    assert "/v1/prelabel" in client.get("/openapi.json").json()["paths"]


def test_the_readmes_request_gets_the_answer_that_is_printed_below_it(client: httpx.Client) -> None:
    [request] = [json.loads(block.split("-d '")[1].rstrip("'\n")) for block in blocks("sh") if '"items"' in block]
    [printed] = [json.loads(block) for block in blocks("json")]

    answer = client.post("/v1/prelabel", json=request).json()

    moment = answer["results"][0]["provenance"].pop("created_at")
    assert moment > printed["results"][0]["provenance"].pop("created_at")
    assert _rounded(answer) == _rounded(printed)


def a_drop_of_all_kinds() -> Iterator[Request]:
    for task in ("detection", "segmentation", "ner", "speech"):
        for file in sorted((DROP / task).iterdir()):
            item = Item(id=f"{task}/{file.name}", media=MEDIA_OF_TASK[task], data=file.read_bytes())
            yield Request(item=item, task=task)


def test_the_python_client_streams_a_drop_of_all_kinds_as_calls_would_have_labelled_it(
    service: str, client: httpx.Client
) -> None:
    with Client(service, timeout_s=300.0) as python:
        results = list(python.stream(a_drop_of_all_kinds(), batch_items=7, calls_at_once=3))

    requests = list(a_drop_of_all_kinds())
    assert [result.id for result in results] == [request.item.id for request in requests]
    bad = {result.error.code for result in results if result.error}
    assert bad <= {"unreadable_image", "unreadable_audio", "invalid_text"}  # which the drop has on purpose
    number = next(n for n, result in enumerate(results) if result.task == "segmentation" and not result.error)
    item = requests[number].item
    body = {"id": item.id, "task": "segmentation", "data": base64.b64encode(item.data or b"").decode()}
    [called] = client.post("/v1/prelabel", json={"items": [body]}).json()["results"]
    assert _rounded(RESULT.dump_python(results[number], mode="json")["annotations"]) == _rounded(called["annotations"])


def test_the_python_client_sends_what_the_service_refuses_together_in_halves(service: str) -> None:
    requests = [Request(item=Item(id=str(n), media="text", text="Ada"), task="ner") for n in range(1_100)]
    large = Request(item=Item(id="large", media="image", data=bytes(70 * 2**20)), task="detection")

    with Client(service, timeout_s=300.0) as python:
        results = list(python.stream([*requests, large], batch_items=1_100, batch_bytes=2**30))

    assert [result.id for result in results] == [*map(str, range(1_100)), "large"]
    assert [result.error.code for result in results if result.error] == ["too_large"]


async def test_the_asynchronous_client_waits_for_a_run_and_reads_its_results(service: str) -> None:
    async with AsyncClient(service, timeout_s=120.0) as python:
        run = await python.post_run(str(DROP / "ner" / "easy_0*.txt"), task="ner")
        over = await python.wait(run.id, timeout_s=300.0)
        results = [result async for result in python.results(run.id)]
        models = await python.models()

    assert (over.status, over.failed) == ("done", 0)
    assert len(results) == over.listed > 2
    assert {model.task for model in models} == {"detection", "segmentation", "ner", "speech"}


def _rounded(value: object) -> object:
    """The same JSON with numbers to two digits, the promise being 1e-3."""
    match value:
        case dict():
            return {key: _rounded(child) for key, child in value.items()}
        case list():
            return [_rounded(child) for child in value]
        case float():
            return round(value, 2)
        case _:
            return value
