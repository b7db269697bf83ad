"""Checks the routes for runs over a real store: what may be posted, what is told, and how results are read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.ontology import Class, Ontology
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from tests.serving.builders import a_client
from tests.serving.runs.builders import (
    CUT_OFF,
    a_drop,
    a_worker,
    all_results,
    post,
    settings_over,
    state,
    unsure_texts,
    until_over,
    working,
)

pytestmark = CUT_OFF


@pytest.fixture
async def client(postgres_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_over(tmp_path, postgres_url)) as opened:
        yield opened


async def work(postgres_url: str, root: Path) -> None:
    """Work on one run, which must be there."""
    async with a_worker(settings_over(root, postgres_url)) as worker:
        assert await worker.work_on_next()


async def test_a_posted_run_waits_is_worked_on_and_tells_what_it_has_come_to(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    drop = a_drop(tmp_path / "incoming", "0.9", "0.5", "nothing", "fail")

    posted = await client.post("/v1/runs", json={"drop": str(drop), "task": "ner"})
    run_id = posted.json()["id"]
    async with working(settings_over(tmp_path, postgres_url)):
        run = await until_over(client, run_id)

    assert (posted.status_code, posted.headers["Location"]) == (202, f"/v1/runs/{run_id}")
    waits = posted.json()
    assert (waits["name"], waits["task"], waits["status"], waits["attempt"]) == ("incoming", "ner", "queued", 0)
    assert (waits["source"], waits["listed"], waits["is_listed"]) == ({"drop": str(drop)}, 0, False)
    assert (run["status"], run["reason"], run["attempt"]) == ("done", None, 1)
    figures = ("listed", "labels", "nothing_found", "failed", "accepted", "review", "retrying", "finished")
    assert [run[name] for name in figures] == [4, 2, 1, 1, 2, 1, 0, 4]
    assert (run["is_listed"], run["eta_s"], run["finished_at"] > run["created_at"]) == (True, None, True)
    assert run["items_per_s"] > 0
    assert run["errors"] == [{"code": "model_failed", "items": 1, "retrying": 0}]


async def test_the_results_are_those_of_a_call_with_the_same_items(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    drop = a_drop(tmp_path / "drop", "0.9", "0.5", "nothing", "fail")
    run_id = await post(client, drop)
    await work(postgres_url, tmp_path)

    results = await all_results(client, run_id)
    items = [{"id": file.name, "task": "ner", "text": file.read_text()} for file in sorted(drop.iterdir())]
    called = (await client.post("/v1/prelabel", json={"items": items})).json()["results"]

    for result in results + called:
        if result["provenance"]:
            result["provenance"].pop("created_at")
    assert sorted(results, key=lambda result: result["id"]) == called


async def test_a_run_says_what_the_rules_have_found_and_which_labels_mean_no_class(
    postgres_url: str, tmp_path: Path
) -> None:
    town = Ontology(classes=(Class(name="town"),))
    settings = settings_over(tmp_path, postgres_url).model_copy(update={"ontology": town})
    texts = ["0.9", "0.5", " 0.7", "nothing"]  # the third one's span begins with a space
    async with a_client(settings) as client, a_worker(settings) as worker:
        run_id = await post(client, a_drop(tmp_path / "drop", *texts))
        assert await worker.work_on_next()

        remarks = (await client.get(f"/v1/runs/{run_id}/remarks")).json()
        unknown = await client.get("/v1/runs/none/remarks")

    assert remarks == {
        "findings": [{"rule": "untrimmed_span", "action": "changed", "findings": 1, "items": 1}],
        "unmapped": [{"label": "person", "annotations": 3, "items": 3}],
    }
    assert unknown.status_code == 404


async def test_a_call_that_is_repeated_begins_nothing_anew(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    drop = a_drop(tmp_path / "drop", "0.9")
    body = {"drop": str(drop), "task": "ner", "run": "nightly"}

    first, second = [await client.post("/v1/runs", json=body) for _ in range(2)]
    await work(postgres_url, tmp_path)
    (drop / "0000.txt").unlink()
    drop.rmdir()
    third = await client.post("/v1/runs", json=body)
    other = await client.post("/v1/runs", json=body | {"kind": "folder"})

    assert [answer.status_code for answer in (first, second, third, other)] == [202, 202, 200, 409]
    assert second.json() == first.json()
    assert (third.json()["status"], third.json()["attempt"]) == ("done", 1)
    assert other.json()["error"]["code"] == "run_exists"
    assert [run["id"] for run in (await client.get("/v1/runs")).json()["runs"]] == ["nightly"]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"drop": "/etc"}, "blocked_url", "outside fetch.roots"),
        ({"drop": "/etc/passwd"}, "blocked_url", "outside fetch.roots"),
        ({"drop": "/no/such/folder"}, "blocked_url", "outside fetch.roots"),
        ({"drop": "ROOT/../secret"}, "blocked_url", "outside fetch.roots"),
        ({"drop": "ROOT/../*/*.txt"}, "blocked_url", "outside fetch.roots"),
        ({"drop": "ROOT/out"}, "blocked_url", "outside fetch.roots"),
        ({"drop": "ROOT/out/{0000..0003}.tar"}, "blocked_url", "outside fetch.roots"),
        ({"drop": "file:///etc/drop.jsonl"}, "blocked_url", "outside fetch.roots"),
        ({"drop": "s3://bucket/prefix"}, "blocked_url", "outside fetch.allowed_buckets"),
        ({"drop": "https://example.com/drop.jsonl"}, "invalid_drop", "wanted a folder"),
        ({"drop": "data:,abc"}, "invalid_drop", "wanted a folder"),
        ({"drop": "drop"}, "invalid_drop", "wanted an absolute one"),
        ({"drop": "~/drop"}, "invalid_drop", "wanted an absolute one"),
        ({"drop": "ROOT/nothing.jsonl"}, "not_found", "check its name"),
        ({"drop": "ROOT/\0"}, "fetch_failed", "check its name"),
        ({"drop": "ROOT/drop", "kind": "paper"}, "invalid_drop", "unknown kind of drop 'paper'"),
        ({"drop": "ROOT/drop", "task": "speech"}, "unknown_task", "not deployed here; choose one of: ner"),
        ({"drop": "ROOT/drop", "task": "dance"}, "invalid_request", "task"),
        ({"drop": ""}, "invalid_request", "drop"),
        ({"drop": "ROOT/drop", "out": "/out"}, "invalid_request", "out"),
        ({"drop": "ROOT/drop", "run": "../x"}, "invalid_request", "run"),
    ],
)
async def test_what_may_not_or_cannot_be_labelled_is_refused_at_once(
    postgres_url: str, tmp_path: Path, body: dict[str, str], code: str, said: str
) -> None:
    root, secret = tmp_path / "root", a_drop(tmp_path / "secret", "0.9")
    a_drop(root / "drop", "0.9")
    (root / "out").symlink_to(secret)

    async with a_client(settings_over(root, postgres_url)) as client:
        asked = {"task": "ner"} | {name: text.replace("ROOT", str(root)) for name, text in body.items()}
        answer = await client.post("/v1/runs", json=asked)
        runs = (await client.get("/v1/runs")).json()["runs"]

    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == code
    assert said in answer.json()["error"]["message"]
    assert runs == []


async def test_a_service_without_roots_opens_no_folder(postgres_url: str, tmp_path: Path) -> None:
    async with a_client(settings_over(None, postgres_url)) as client:
        answer = await client.post("/v1/runs", json={"drop": str(tmp_path), "task": "ner"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "blocked_url")
    assert "fetch.roots" in answer.json()["error"]["message"]


async def test_files_outside_the_roots_that_a_manifest_names_are_not_opened(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    a_drop(tmp_path, "0.9")
    secret = a_drop(tmp_path_factory.mktemp("secret"), "0.9") / "0000.txt"
    lines = [{"id": "ours", "uri": "0000.txt"}, {"id": "secret", "uri": str(secret)}, {"id": "up", "uri": "../x.txt"}]
    (tmp_path / "drop.jsonl").write_text("\n".join(map(json.dumps, lines)))

    run_id = await post(client, tmp_path / "drop.jsonl")
    await work(postgres_url, tmp_path)

    results = {result["id"]: result for result in await all_results(client, run_id)}
    assert results["ours"]["status"] == "labels"
    assert [results[name]["error"]["code"] for name in ("secret", "up")] == ["blocked_url"] * 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/results", None),
        ("GET", "/results?format=jsonl", None),
        ("GET", "/errors", None),
        ("POST", "/redrive", {"codes": []}),
    ],
)
@pytest.mark.parametrize("run_id", ["nobody", "calls", "%00"])
async def test_a_run_that_is_not_there_is_not_found(
    client: httpx.AsyncClient, method: str, path: str, body: object, run_id: str
) -> None:
    items = [{"id": "a", "task": "ner", "text": "0.9"}]
    await client.post("/v1/prelabel", json={"items": items, "run": "calls"})  # a run, but over no drop

    answer = await client.request(method, f"/v1/runs/{run_id}{path}", json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_results_are_read_page_by_page_or_as_lines(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    run_id = await post(client, a_drop(tmp_path / "drop", *unsure_texts(250)))
    path = f"/v1/runs/{run_id}/results"
    before = (await client.get(path)).json()
    await work(postgres_url, tmp_path)

    first = (await client.get(path, params={"limit": 200})).json()
    second = (await client.get(path, params={"limit": 200, "after": first["next"]})).json()
    lines = await client.get(path, params={"format": "jsonl"})
    accepted = await client.get(path, headers={"Accept": "application/x-ndjson"})
    rest = await client.get(path, params={"format": "jsonl", "after": first["next"]})
    wrong = await client.get(path, params={"after": "x"})

    assert before == {"results": [], "next": None}
    assert (len(first["results"]), len(second["results"]), second["next"]) == (200, 50, None)
    results = first["results"] + second["results"]
    assert sorted(result["id"] for result in results) == [f"{n:04}.txt" for n in range(250)]
    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == results
    assert accepted.text == lines.text
    assert [json.loads(line) for line in rest.text.splitlines()] == second["results"]
    assert wrong.status_code == 422


async def test_failures_are_read_page_by_page_and_tried_again(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    drop = a_drop(tmp_path / "drop", "0.9", "fail", "fail", "")
    run_id = await post(client, drop)
    early = await client.post(f"/v1/runs/{run_id}/redrive", json={"codes": ["model_failed"]})
    await work(postgres_url, tmp_path)

    path = f"/v1/runs/{run_id}/errors"
    first = (await client.get(path, params={"limit": 2})).json()
    second = (await client.get(path, params={"limit": 2, "after": first["next"]})).json()
    [of_code] = (await client.get(path, params={"code": "empty"})).json()["errors"]
    for name in ("0001.txt", "0002.txt"):
        (drop / name).write_text("0.9")
    again = await client.post(f"/v1/runs/{run_id}/redrive", json={"codes": ["model_failed"]})
    await work(postgres_url, tmp_path)
    run = await state(client, run_id)

    assert (early.status_code, early.json()["error"]["code"]) == (409, "run_not_over")
    assert [error["id"] for error in first["errors"] + second["errors"]] == ["0001.txt", "0002.txt", "0003.txt"]
    assert second["next"] is None
    assert (of_code["id"], of_code["uri"], of_code["attempts"]) == ("0003.txt", str(drop / "0003.txt"), 1)
    assert (again.status_code, again.json()["items"], again.json()["run"]["status"]) == (202, 2, "queued")
    assert (run["status"], run["attempt"], run["labels"], run["failed"]) == ("done", 2, 3, 1)


async def test_a_run_that_waits_is_cancelled_at_once_and_can_go_on(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    run_id = await post(client, a_drop(tmp_path / "drop", "0.9"))

    answers = [await client.delete(f"/v1/runs/{run_id}") for _ in range(2)]
    async with a_worker(settings_over(tmp_path, postgres_url)) as worker:
        had_work = await worker.work_on_next()
    again = await client.post(f"/v1/runs/{run_id}/redrive", json={"codes": []})
    await work(postgres_url, tmp_path)

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "cancelled")] * 2
    assert not had_work
    assert (again.status_code, again.json()["run"]["is_stopping"]) == (202, False)
    assert (await state(client, run_id))["labels"] == 1


async def test_a_run_of_the_command_line_is_shown_and_is_nobody_elses(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    source = {"drop": str(tmp_path), "out": str(tmp_path / "out"), "kind": "folder", "location": str(tmp_path)}
    async with Store.open(postgres_url) as store:
        await Drops(store).begin("mine", name="a drop", task="ner", source=source, fingerprint={})

    async with a_worker(settings_over(tmp_path, postgres_url)) as worker:
        had_work = await worker.work_on_next()
    driven = await client.post("/v1/runs/mine/redrive", json={"codes": ["timeout"]})
    posted = await client.post("/v1/runs", json={"drop": str(tmp_path), "task": "ner", "run": "mine"})
    stopped = await client.delete("/v1/runs/mine")

    assert not had_work
    shown = await state(client, "mine")
    assert (shown["status"], shown["attempt"], shown["source"]) == ("running", 0, {"drop": str(tmp_path)})
    assert [answer.status_code for answer in (driven, posted, stopped)] == [409, 409, 202]
    assert driven.json()["error"]["code"] == "not_posted"
    assert stopped.json()["is_stopping"]


async def test_a_call_cannot_store_into_a_posted_run(client: httpx.AsyncClient, tmp_path: Path) -> None:
    run_id = await post(client, a_drop(tmp_path / "drop", "0.9"))

    items = [{"id": "a", "task": "ner", "text": "0.9"}]
    answer = await client.post("/v1/prelabel", json={"items": items, "run": run_id})

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_exists")
    assert (await state(client, run_id))["status"] == "queued"


async def test_the_routes_are_described_with_examples(client: httpx.AsyncClient) -> None:
    described: dict[str, Any] = (await client.get("/openapi.json")).json()

    paths = {path: set(methods) for path, methods in described["paths"].items() if path.startswith("/v1/runs")}
    assert paths == {
        "/v1/runs": {"get", "post"},
        "/v1/runs/{run_id}": {"get", "delete"},
        "/v1/runs/{run_id}/results": {"get"},
        "/v1/runs/{run_id}/errors": {"get"},
        "/v1/runs/{run_id}/remarks": {"get"},
        "/v1/runs/{run_id}/redrive": {"post"},
    }
    for name in ("RunBody", "RunState", "RedriveBody", "ErrorPage"):
        assert described["components"]["schemas"][name]["examples"]
    results = described["paths"]["/v1/runs/{run_id}/results"]["get"]["responses"]["200"]["content"]
    assert set(results) == {"application/json", "application/x-ndjson"}
