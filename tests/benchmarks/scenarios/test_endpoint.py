"""Checks what a benchmark makes of a service's answers, and of the configuration that it starts one with."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks import service
from benchmarks.scenarios.endpoint import Endpoint, configuration
from models.errors import OverloadedError, PrelabelError
from models.types import Content, Task
from serving import settings


async def label(answer: httpx.Response | Exception, content: Content | None = None) -> httpx.Request:
    """Put one item to an endpoint that answers this; returns what it was sent."""
    sent = list[httpx.Request]()

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url="http://service") as client:
        endpoint = Endpoint(client, "detection", [], at_once=1)
        await endpoint.label(content or Content(media="image", data=b"bytes"))
    return sent[0]


def a_result(status: str, **more: object) -> httpx.Response:
    return httpx.Response(200, json={"results": [{"id": "0", "status": status, **more}]})


async def test_one_item_goes_into_a_call() -> None:
    request = await label(a_result("labels"))

    [item] = json.loads(request.content)["items"]
    assert request.url.path == "/v1/prelabel"
    assert (item["task"], base64.b64decode(item["data"])) == ("detection", b"bytes")


async def test_an_item_without_labels_is_answered() -> None:
    await label(a_result("nothing_found"))


@pytest.mark.parametrize("status", [429, 503])
async def test_a_full_service_sheds(status: int) -> None:
    with pytest.raises(OverloadedError):
        await label(httpx.Response(status))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (a_result("failed", error={"code": "unreadable_image", "message": "no"}), "unreadable_image"),
        (a_result("failed", error={"code": "overloaded", "message": "no"}), "overloaded"),
        (httpx.Response(500, text="oh"), "http_500"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.ConnectError("gone"), "connection_failed"),
    ],
)
async def test_every_failure_has_a_code(answer: httpx.Response | Exception, code: str) -> None:
    with pytest.raises(PrelabelError) as failed:
        await label(answer)

    assert failed.value.code == code


@pytest.mark.parametrize("own", ["segmentation", "ner"])
def test_a_service_is_started_with_the_task_s_own_models_and_nothing_of_the_store(own: Task, tmp_path: Path) -> None:
    known = settings.load("demo")

    (tmp_path / "own.yaml").write_text(yaml.safe_dump(written := configuration(own, known)))
    read = settings.load(str(tmp_path / "own.yaml"))

    assert "store" not in written
    assert [read.cards[name] for name in read.tasks[own]] == [known.cards[name] for name in known.tasks[own]]
    assert list(read.tasks) == [own]
    assert (read.policies[own], read.media, read.lock_file) == (known.policies[own], known.media, known.lock_file)


def test_a_started_service_does_not_see_the_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRELABEL_STORE__URL", "postgresql://real/labels")

    environment = service.environment()

    assert "PRELABEL_STORE__URL" not in environment
    assert "PATH" in environment
