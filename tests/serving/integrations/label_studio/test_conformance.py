"""Makes the calls that a Label Studio 1.23.2 was seen to make, and judges our answers by its own library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from pipelines.store.label_studio.events import Events
from tests.pipelines.formats.readers import Reader, reader
from tests.serving.builders import a_client
from tests.serving.integrations.label_studio.builders import (
    PlayedModels,
    connected_to,
    hasty,
    png,
    replay,
    settings_of_all,
    wav,
)
from tests.serving.integrations.label_studio.recorded import Recorded, recorded
from tests.serving.integrations.label_studio.studio import TOKEN, Studio, a_studio
from tests.serving.runs.builders import CUT_OFF, working

pytestmark = CUT_OFF

CALLS = recorded()
PREDICTS = [kind for kind in CALLS if kind.startswith("predict/")]
WEBHOOKS = [kind for kind in CALLS if kind.startswith("webhook/")]
IMAGE, SOUND = "/data/upload/3/2abf2aa7-a_b_%C3%A9.png", "/data/upload/4/8aabbfc5-s.wav"

# Which slots stay empty: a file of a stranger's bucket or a stranger's site that is not there, half a PNG, a list.
_EMPTY = {"predict/batch image (basic auth)": [0, 1, 2], "predict/batch odd texts": [5]}


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("label_studio", "label_studio") as sdk:
        yield sdk


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_of_all(postgres_url), PlayedModels()) as opened:
        yield opened


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    async with a_studio() as opened:
        opened.files = {IMAGE: png(), SOUND: wav()}
        yield opened


def judged(library: Reader, call: Recorded, slots: list[Any]) -> list[list[str]]:
    """What Label Studio's library finds wrong with the slots that hold something."""
    return library.ask(config=call.label_config, predictions=[slot for slot in slots if slot])["errors"]


async def version_of(client: httpx.AsyncClient, call: Recorded, *, path: str = "auto") -> str:
    told = await client.post(f"/label-studio/{path}/setup", json={"project": "2.1", "schema": call.label_config})
    assert told.status_code == 200, told.text
    return told.json()["model_version"]


def test_every_kind_of_call_that_was_recorded_is_made_here() -> None:
    assert set(CALLS) == {*PREDICTS, *WEBHOOKS, "health", "setup", "setup/with extra_params", "versions"}
    assert len(PREDICTS) == 10 and len(WEBHOOKS) == 7


async def test_health_is_json(client: httpx.AsyncClient) -> None:
    answer = await replay(client, CALLS["health"])

    assert (answer.status_code, answer.json()["status"]) == (200, "UP")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("kind", ["setup", "setup/with extra_params"])
async def test_setup_and_versions_tell_the_version(client: httpx.AsyncClient, kind: str) -> None:
    told = await replay(client, CALLS[kind])
    listed = await replay(client, CALLS["versions"], path="ner")

    assert told.status_code == listed.status_code == 200
    assert set(told.json()) == {"model_version"}
    assert listed.json() == {"versions": [told.json()["model_version"]]}


async def test_versions_of_a_path_for_every_task_are_those_of_every_task(client: httpx.AsyncClient) -> None:
    listed = (await replay(client, CALLS["versions"])).json()["versions"]

    assert [version.split("-")[1] for version in listed] == ["detection", "segmentation", "ner", "speech"]


@pytest.mark.parametrize("kind", PREDICTS)
async def test_a_prediction_for_each_task_is_one_that_label_studio_takes(
    postgres_url: str, studio: Studio, library: Reader, kind: str
) -> None:
    call, settings, models = CALLS[kind], hasty(settings_of_all(postgres_url), 20.0), PlayedModels()
    async with (
        a_client(settings, models) as client,
        connected_to(postgres_url, studio.url) as (_, _, key),
        working(settings, models),
    ):
        answer = await replay(client, call, path=f"auto/{key}")
        version = await version_of(client, call, path=f"auto/{key}")

        slots = answer.json()["results"]
        assert answer.status_code == 200
        assert len(slots) == len(call.tasks)
        assert [n for n, slot in enumerate(slots) if not slot] == _EMPTY.get(kind, [])
        assert judged(library, call, slots) == [[] for slot in slots if slot]
        if "interactive image" not in kind:  # whose answer is kept by nobody, and says which models made it
            assert {slot["model_version"] for slot in slots if slot} <= {version}
        assert {token for _, path, token in studio.calls if path in (IMAGE, SOUND)} <= {f"Token {TOKEN}"}


async def test_the_judge_finds_what_is_wrong(library: Reader, client: httpx.AsyncClient) -> None:
    call = CALLS["predict/batch text"]
    (slot, *_) = (await replay(client, call)).json()["results"]
    broken = slot | {"result": [slot["result"][0] | {"from_name": "nobody"}]}

    assert judged(library, call, [slot]) == [[]]
    assert judged(library, call, [broken]) != [[]]


async def test_a_call_of_a_project_that_is_not_connected_is_answered_alike(
    client: httpx.AsyncClient, library: Reader
) -> None:
    for kind in ("predict/batch text", "predict/batch 250 tasks", "predict/batch odd texts", "predict/test button"):
        call = CALLS[kind]
        slots = (await replay(client, call)).json()["results"]

        assert [n for n, slot in enumerate(slots) if not slot] == _EMPTY.get(kind, [])
        assert judged(library, call, slots) == [[] for slot in slots if slot]


async def test_a_file_of_a_label_studio_that_is_not_connected_leaves_its_slot_empty(client: httpx.AsyncClient) -> None:
    answer = await replay(client, CALLS["predict/open task image (basic auth)"])

    assert (answer.status_code, answer.json()["results"]) == (200, [[]])


async def test_a_click_gives_the_object_under_its_label(postgres_url: str, studio: Studio) -> None:
    models = PlayedModels()
    async with (
        a_client(settings_of_all(postgres_url), models) as client,
        connected_to(postgres_url, studio.url, task="detection") as (_, _, key),
    ):
        answer = await replay(client, CALLS["predict/interactive image"], path=f"detection/{key}")

        (region,) = answer.json()["results"][0]["result"]
        assert models.asked == ["segmenter"]  # what is pointed at needs nobody to look for it
        assert (region["from_name"], region["type"]) == ("label", "rectanglelabels")  # no brush offers a Car
        assert region["value"]["rectanglelabels"] == ["Car"]
        assert (region["original_width"], region["original_height"]) == (64, 48)


async def test_basic_auth_carries_the_key_of_the_api(postgres_url: str) -> None:
    from serving.auth import new_key

    api_key, line = new_key()
    settings = settings_of_all(postgres_url, api_keys=(line,))
    call = CALLS["predict/batch text"]
    async with a_client(settings, PlayedModels()) as client:
        refused = await client.post("/label-studio/auto/predict", content=call.content, headers=call.headers)
        basic = {"Authorization": httpx.BasicAuth("ls", api_key)._auth_header}
        taken = await client.post("/label-studio/auto/predict", content=call.content, headers=call.headers | basic)

        assert (refused.status_code, taken.status_code) == (401, 200)


async def test_every_webhook_is_taken_and_those_that_tell_of_tasks_and_annotations_are_noted(postgres_url: str) -> None:
    async with (
        a_client(settings_of_all(postgres_url), PlayedModels()) as client,
        connected_to(postgres_url, "http://127.0.0.1:1") as (store, connection, key),
    ):
        answers = {kind: await replay(client, CALLS[kind], path=f"auto/{key}") for kind in WEBHOOKS}
        strangers = [await replay(client, CALLS[kind]) for kind in WEBHOOKS]

        found = await Events(store, connection.id).due()
        assert {answer.status_code for answer in (*answers.values(), *strangers)} == {201}
        assert "job" not in {key for answer in answers.values() for key in answer.json()}  # no row of a training
        assert [(event.action, event.ids) for event in found] == [
            ("annotations", (1,)),
            ("annotations", (1,)),
            ("annotations", (1,)),
            ("tasks", (5, 6)),
        ]
