from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.errors import LabelStudioError
from tests.label_studio.backend import a_backend
from tests.label_studio.builders import a_project, a_row, annotate, some_tasks
from tests.label_studio.server import LabelStudioServer

NOBODY = 10**8


@pytest.fixture
async def server(shared_server: LabelStudioServer) -> AsyncIterator[LabelStudio]:
    async with LabelStudio(shared_server.url, token=shared_server.token) as server:
        yield server


@pytest.fixture
def project(admin: httpx.Client) -> int:
    return a_project(admin)


async def changed(server: LabelStudio, project: int, since: datetime) -> list[int]:
    pages = [page async for page in server.tasks(project, updated_since=since)]
    return [task.id for page in pages for task in page]


async def test_both_kinds_of_token_open_it(shared_server: LabelStudioServer, personal_token: str, project: int) -> None:
    for token in (shared_server.token, personal_token):
        async with LabelStudio(shared_server.url, token=token) as server:
            assert (await server.project(project)).id == project
            assert await server.user_id() == 1
            assert await server.version() == "1.23.2"


async def test_a_token_that_is_not_known_is_refused(
    shared_server: LabelStudioServer, personal_token: str, project: int
) -> None:
    for token in ("0" * 40, personal_token[:-4] + "AAAA"):
        async with LabelStudio(shared_server.url, token=token) as server:
            with pytest.raises(LabelStudioError) as caught:
                await server.project(project)

        assert caught.value.code == "label_studio_refused"
        assert token not in caught.value.message


async def test_all_tasks_are_listed_once_whatever_the_page(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    tasks = some_tasks(admin, project, 301)

    for page in (100, 301, 1000):
        assert [task.id async for found in server.tasks(project, page=page) for task in found] == tasks
    wanted = [*tasks[::2], NOBODY]
    assert [task.id async for found in server.tasks(project, ids=wanted) for task in found] == tasks[::2]


async def test_a_task_deleted_between_two_pages_hides_no_other(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    tasks = some_tasks(admin, project, 6)

    seen = []
    async for page in server.tasks(project, page=2):
        seen += [task.id for task in page]
        await asyncio.to_thread(admin.delete, f"/api/tasks/{tasks[0]}/")

    assert seen == tasks


async def test_a_task_tells_its_data_as_it_is(admin: httpx.Client, server: LabelStudio, project: int) -> None:
    data = {"image": "s3://bucket/a b/é.jpg", "n": 3, "deep": {"list": [1, None]}}
    some_tasks(admin, project, [data])

    [[task]] = [page async for page in server.tasks(project)]

    assert task.data == data


async def test_annotations_say_what_they_began_with(admin: httpx.Client, server: LabelStudio, project: int) -> None:
    first, second, third = some_tasks(admin, project, 3)
    await server.import_predictions(project, [a_row(first)])
    [prediction] = await server.predictions(first)
    made = annotate(admin, first, parent_prediction=prediction.id)
    annotate(admin, second, result=[], was_cancelled=True, lead_time=None)

    found = await server.annotations(project, [first, second, third, NOBODY])

    assert found.keys() == {first, second, third}
    [submitted], [skipped] = found[first], found[second]
    assert (submitted.id, submitted.parent_prediction, submitted.lead_time_s) == (made["id"], prediction.id, 3.5)
    assert list(submitted.result) == made["result"]
    assert (submitted.completed_by, submitted.was_cancelled) == (1, False)
    assert (skipped.was_cancelled, skipped.lead_time_s, skipped.parent_prediction) == (True, None, None)
    assert submitted == await server.annotation(made["id"])
    assert await server.annotation(NOBODY) is None


async def test_every_change_of_annotations_moves_its_task_and_nothing_else_does(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    task, other, third, _ = some_tasks(admin, project, 4)
    moved = []
    steps = (
        lambda: annotate(admin, task),
        lambda: admin.patch(f"/api/annotations/{annotate(admin, task)['id']}/", json={"result": []}),
        lambda: admin.delete(f"/api/annotations/{annotate(admin, task)['id']}/"),
        lambda: annotate(admin, other, was_cancelled=True),
        lambda: admin.post(
            f"/api/dm/actions?id=delete_tasks_annotations&project={project}",
            json={"selectedItems": {"all": False, "included": [other]}},
        ),
        lambda: admin.post(f"/api/tasks/{third}/drafts", json={"result": [], "lead_time": 1}),
        lambda: admin.post(f"/api/projects/{project}/import/predictions", json=[a_row(third)]),
    )
    for step in steps:
        since = datetime.now(UTC)
        step()
        moved.append(await changed(server, project, since))

    assert moved == [[task], [task], [task], [other], [other], [], []]


async def test_listing_tasks_asks_no_backend_for_predictions(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    tasks = some_tasks(admin, project, 3)
    with a_backend() as backend:
        await server.create_backend(project, url=backend.url, title="ours")
        body = {"evaluate_predictions_automatically": True}
        await asyncio.to_thread(admin.patch, f"/api/projects/{project}/", json=body)

        _ = [page async for page in server.tasks(project, with_annotations=True)]
        await server.annotations(project, tasks)
        await server.predicted_tasks(project, tasks, "mv1")
        await server.existing_tasks(project, tasks)
        asked_by_us = backend.paths.count("/predict")
        await asyncio.to_thread(admin.get, "/api/tasks/", params={"project": project})

    assert asked_by_us == 0
    assert backend.paths.count("/predict") == 1  # the plain list does ask: the claim above could have failed


async def test_predictions_are_stored_when_the_call_returns(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    tasks = some_tasks(admin, project, 300)

    assert await server.import_predictions(project, [a_row(task) for task in tasks[:200]]) == 200
    assert await server.import_predictions(project, [a_row(task, model_version="v10") for task in tasks[100:]]) == 200

    assert await server.predicted_tasks(project, [*tasks, NOBODY], "v1") == set(tasks[:200])
    assert await server.predicted_tasks(project, tasks, "v10") == set(tasks[100:])
    assert await server.predicted_tasks(project, tasks, "v") == set()
    assert await server.prediction_counts(project) == {"v1": 200, "v10": 200}


async def test_a_task_that_is_no_more_has_all_of_its_call_refused(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    tasks = some_tasks(admin, project, 700)
    elsewhere = some_tasks(admin, a_project(admin), 1)

    for stranger in (NOBODY, *elsewhere):
        with pytest.raises(LabelStudioError) as caught:
            await server.import_predictions(project, [a_row(task) for task in [*tasks, stranger]])
        assert caught.value.code == "label_studio_rejected"

    assert await server.predicted_tasks(project, tasks, "v1") == set()
    assert await server.existing_tasks(project, [tasks[3], NOBODY, *elsewhere]) == {tasks[3]}


async def test_a_row_that_the_config_does_not_allow_is_left_out_in_silence(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    good, wrong, too_sure = some_tasks(admin, project, 3)
    rows = [a_row(good), a_row(wrong), a_row(too_sure, score=1.5)]
    rows[1]["result"][0]["from_name"] = "nothing"

    assert await server.import_predictions(project, rows) == 1

    assert await server.predicted_tasks(project, [good, wrong, too_sure], "v1") == {good}


async def test_predictions_sent_twice_are_there_twice(admin: httpx.Client, server: LabelStudio, project: int) -> None:
    [task] = some_tasks(admin, project, 1)

    for _ in range(2):
        await server.import_predictions(project, [a_row(task)])

    assert len(await server.predictions(task)) == 2


async def test_an_answer_to_predict_is_stored_some_time_after_it_was_given(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    tasks = some_tasks(admin, project, 60)
    with a_backend() as backend:
        await server.create_backend(project, url=backend.url, title="ours")
        path = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}"
        asked = asyncio.create_task(asyncio.to_thread(admin.post, path, json={"selectedItems": {"all": True}}))
        seen: list[int] = []
        while not asked.done():
            if backend.answered.is_set():
                seen.append(len(await server.predicted_tasks(project, tasks, "mv1")))
            await asyncio.sleep(0.2)

    assert (await asked).json() == {"processed_items": 60, "detail": "Retrieved 60 predictions"}
    assert min(seen) < 60  # it was answered, and not all of it was to be seen
    assert await server.predicted_tasks(project, tasks, "mv1") == set(tasks)


async def test_a_backend_comes_with_a_webhook_that_outlives_it(server: LabelStudio, project: int) -> None:
    with a_backend(user="prelabel", password="key") as backend:
        with pytest.raises(LabelStudioError, match="authentication") as caught:
            await server.create_backend(project, url=backend.url, title="ours", basic_auth=("prelabel", "wrong"))
        made = await server.create_backend(project, url=backend.url, title="ours", basic_auth=("prelabel", "key"))
        [found] = await server.backends(project)
        [webhook] = await server.webhooks(project)

        assert caught.value.code == "label_studio_rejected"
        assert (found.id, found.is_connected, found.basic_auth_user) == (made.id, True, "prelabel")
        assert (found.model_version, found.title) == ("mv1", "ours")
        assert (webhook.url, webhook.sends_all, webhook.sends_payload) == (backend.url + "/webhook", True, True)
        assert await server.delete_backend(made.id)
        assert not await server.delete_backend(made.id)
        assert await server.webhooks(project) == (webhook,)
        assert await server.delete_webhook(webhook.id)
        assert await server.webhooks(project) == ()


async def test_a_webhook_sends_the_header_that_it_was_given(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    with a_backend() as backend:
        hook = await server.create_webhook(
            project, url=backend.url + "/webhook", actions=["TASKS_CREATED"], headers={"X-Secret": "s3cret"}
        )
        some_tasks(admin, project, 1)

    assert [call.headers.get("X-Secret") for call in backend.calls] == ["s3cret"]
    assert hook.header_names == {"X-Secret"}
    assert "s3cret" not in repr(hook)


async def test_tasks_are_imported_in_order(server: LabelStudio, project: int) -> None:
    ids = await server.import_tasks(project, [{"image": f"https://images.example/{n}.jpg"} for n in range(5)])

    pages = [page async for page in server.tasks(project)]
    assert [task.id for page in pages for task in page] == list(ids)
    assert [task.data["image"][-5] for page in pages for task in page] == list("01234")


async def test_annotators_can_be_shown_a_version_that_there_is(
    admin: httpx.Client, server: LabelStudio, project: int
) -> None:
    [task] = some_tasks(admin, project, 1)

    with pytest.raises(LabelStudioError, match="doesn't exist") as caught:
        await server.show_predictions_of(project, "v1")
    await server.import_predictions(project, [a_row(task)])
    shown = await server.show_predictions_of(project, "v1")

    assert caught.value.code == "label_studio_rejected"
    assert (shown.model_version, shown.show_predictions) == ("v1", True)
