from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.errors import LabelStudioError, UnknownOutcomeError
from tests.serving.integrations.label_studio.stub import DROP, Answer, Stub, a_jwt, a_stub

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PROJECT = {
    "id": 7,
    "title": "cars",
    "label_config": "<View/>",
    "created_at": "2026-01-01T00:00:00.000000Z",
    "model_version": None,
}
ROW = {"task": 1, "result": [], "score": 0.5, "model_version": "v1"}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with a_stub() as stub:
        yield stub


@pytest.fixture
async def server(stub: Stub) -> AsyncIterator[LabelStudio]:
    async with LabelStudio(stub.url, token=LEGACY, wait_s=0.001) as server:
        yield server


async def test_a_legacy_token_is_sent_as_it_is(stub: Stub, server: LabelStudio) -> None:
    stub.answers = [Answer(body=PROJECT)]

    assert (await server.project(7)).title == "cars"

    assert [call.authorization for call in stub.calls] == [f"Token {LEGACY}"]
    assert await server.authorization() == {"Authorization": f"Token {LEGACY}"}


async def test_a_personal_token_goes_nowhere_but_to_its_refresh(stub: Stub) -> None:
    personal, access = a_jwt("refresh"), a_jwt("access", number=1)
    stub.answers, stub.refreshes = [Answer(body=PROJECT)], [Answer(body={"access": access})]

    async with LabelStudio(stub.url, token=personal) as server:
        await server.project(7)
        await server.project(7)

    assert stub.paths == ["/api/token/refresh/", "/api/projects/7/", "/api/projects/7/"]
    assert stub.calls[0].body == {"refresh": personal}
    assert [call.authorization for call in stub.calls] == [None, f"Bearer {access}", f"Bearer {access}"]


async def test_an_access_token_that_was_refused_is_renewed_once(stub: Stub) -> None:
    first, second = a_jwt("access", number=1), a_jwt("access", number=2)
    stub.refreshes = [Answer(body={"access": first}), Answer(body={"access": second})]
    stub.answers = [Answer(status=401, body={"detail": "no"}), Answer(status=201, body={"created": 1})]

    async with LabelStudio(stub.url, token=a_jwt("refresh")) as server:
        assert await server.import_predictions(7, [ROW]) == 1

    assert [call.authorization for call in stub.calls if "refresh" not in call.path] == [
        f"Bearer {first}",
        f"Bearer {second}",
    ]


async def test_a_token_that_is_refused_for_good_is_said_so(stub: Stub) -> None:
    stub.refreshes = [Answer(body={"access": a_jwt("access")})]
    stub.answers = [Answer(status=401, body={"detail": "Authentication credentials were not provided."})]

    async with LabelStudio(stub.url, token=a_jwt("refresh")) as server:
        with pytest.raises(LabelStudioError, match="refused the personal access token") as caught:
            await server.project(7)

    assert caught.value.code == "label_studio_refused"
    assert stub.paths.count("/api/projects/7/") == 2


@pytest.mark.parametrize("lives_s", [300.0, 4.0])
async def test_an_access_token_is_renewed_before_it_ends(stub: Stub, lives_s: float) -> None:
    from serving.integrations.label_studio.tokens import Token

    now, given = [0.0], iter(range(10))

    async def refresh(_: str) -> str:
        return a_jwt("access", lives_s=lives_s, number=next(given))

    token = Token(a_jwt("refresh"), refresh=refresh, clock=lambda: now[0])
    first = await token.authorization()
    now[0] = lives_s * 0.4
    kept = await token.authorization()
    now[0] = lives_s - 1.0
    renewed = await token.authorization()

    assert first == kept != renewed


@pytest.mark.parametrize(
    "trouble",
    [DROP, Answer(status=429, body={}), Answer(status=500, body={}), Answer(status=503, body="<p>gateway")],
    ids=["dropped", "429", "500", "503"],
)
async def test_a_call_that_reads_is_sent_again_after_trouble(stub: Stub, server: LabelStudio, trouble: Any) -> None:
    stub.answers = [trouble, trouble, Answer(body=PROJECT)]

    assert (await server.project(7)).id == 7

    assert len(stub.calls) == 3


async def test_it_gives_up_after_some_attempts(stub: Stub, server: LabelStudio) -> None:
    stub.answers = [Answer(status=503, body={"detail": "maintenance"})]

    with pytest.raises(LabelStudioError, match="maintenance") as caught:
        await server.project(7)

    assert caught.value.code == "label_studio_failed"
    assert len(stub.calls) == 4


@pytest.mark.parametrize(
    "trouble",
    [DROP, *(Answer(status=status, body={}) for status in (500, 502, 503, 504))],
    ids=["dropped", "500", "502", "503", "504"],
)
async def test_predictions_that_may_have_been_stored_are_not_sent_again(
    stub: Stub, server: LabelStudio, trouble: Any
) -> None:
    stub.answers = [trouble, Answer(status=201, body={"created": 1})]

    with pytest.raises(UnknownOutcomeError, match="nobody knows") as caught:
        await server.import_predictions(7, [ROW])

    assert caught.value.code == "label_studio_unknown_outcome"
    assert len(stub.calls) == 1


async def test_predictions_that_took_too_long_are_not_sent_again(stub: Stub) -> None:
    sent = []

    def slow(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        raise httpx.ReadTimeout("slow", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(slow)) as client:
        with pytest.raises(UnknownOutcomeError, match="did not answer in time"):
            await LabelStudio(stub.url, token=LEGACY, client=client).import_predictions(7, [ROW])

    assert len(sent) == 1


async def test_predictions_that_certainly_were_not_stored_are_sent_again(stub: Stub, server: LabelStudio) -> None:
    stub.answers = [Answer(status=429, body={}, headers={"Retry-After": "0"}), Answer(status=201, body={"created": 1})]

    assert await server.import_predictions(7, [ROW]) == 1

    assert [call.body for call in stub.calls] == [[ROW], [ROW]]


async def test_a_server_that_is_not_there_is_tried_again_and_named() -> None:
    with a_stub() as gone:
        pass
    async with LabelStudio(gone.url, token=LEGACY, wait_s=0.001, attempts=2) as server:
        with pytest.raises(LabelStudioError, match="is it up") as caught:
            await server.import_predictions(7, [ROW])

    assert caught.value.code == "label_studio_unreachable"
    assert not isinstance(caught.value, UnknownOutcomeError)


async def test_a_redirect_is_not_followed_and_gets_no_token(stub: Stub, server: LabelStudio) -> None:
    with a_stub() as other:
        stub.answers = [Answer(status=302, headers={"Location": f"{other.url}/api/projects/7/"})]
        with pytest.raises(LabelStudioError, match="redirects") as caught:
            await server.project(7)

    assert caught.value.code == "label_studio_bad_answer"
    assert other.calls == []


async def test_it_finds_a_server_below_a_path() -> None:
    with a_stub(prefix="/tools/ls") as stub:
        stub.answers = [Answer(body=PROJECT)]
        async with LabelStudio(stub.url + "/", token=LEGACY) as server:
            await server.project(7)

    assert stub.paths == ["/api/projects/7/"]


async def test_a_page_for_people_is_no_label_studio() -> None:
    with a_stub(prefix="/tools/ls") as stub:
        async with LabelStudio(stub.url.removesuffix("/tools/ls"), token=LEGACY) as server:
            with pytest.raises(LabelStudioError, match="with the path it is under") as caught:
                await server.version()

    assert caught.value.code == "label_studio_bad_answer"


@pytest.mark.parametrize("url", ["ftp://host", "host:8080", "", "http://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(LabelStudioError, match="URL"):
        LabelStudio(url, token=LEGACY)


@pytest.mark.parametrize("token", ["", "Token 0123", "two words", "naïve", "line\nbreak"])
def test_a_token_that_is_none_is_refused_without_being_shown(stub: Stub, token: str) -> None:
    with pytest.raises(LabelStudioError, match="no token") as caught:
        LabelStudio(stub.url, token=token)

    assert not token or token not in caught.value.message


@pytest.mark.parametrize("token", [LEGACY, a_jwt("refresh")])
async def test_no_message_log_or_repr_has_a_token(stub: Stub, token: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    access = a_jwt("access", number=9)
    stub.refreshes = [Answer(body={"access": access})]
    said = []
    async with LabelStudio(stub.url.replace("//", "//user:secret@"), token=token, wait_s=0.001, attempts=2) as server:
        said += [repr(server), repr(server._calls.token), server.url]
        for trouble in (Answer(status=401, body={"detail": "no"}), Answer(status=500, body={}), DROP, Answer(body="x")):
            stub.answers = [trouble]
            with pytest.raises(LabelStudioError) as caught:
                await server.project(7)
            said += [caught.value.message, repr(caught.value), repr(caught.value.__cause__)]

    said += [record.getMessage() + repr(record.__dict__) for record in caplog.records]
    assert all(secret not in text for text in said for secret in (token, access, "secret"))


async def test_pages_go_by_the_last_id_seen(stub: Stub, server: LabelStudio) -> None:
    def row(task: int) -> dict[str, Any]:
        return {"id": task, "data": {"n": task}, "updated_at": "2026-01-01T00:00:00.000000Z"}

    stub.answers = [Answer(body={"tasks": [row(3), row(9)], "total": 3}), Answer(body={"tasks": [row(12)], "total": 1})]

    pages = [page async for page in server.tasks(7, page=2)]

    assert [[task.id for task in page] for page in pages] == [[3, 9], [12]]
    assert '"value":9' in str(httpx.URL(stub.paths[1]).params["query"])
    assert all(httpx.URL(path).params["review"] == "true" for path in stub.paths)


async def test_a_version_inside_of_another_is_not_taken_for_it(stub: Stub, server: LabelStudio) -> None:
    rows = [
        {"id": 1, "predictions_model_versions": "v10"},
        {"id": 2, "predictions_model_versions": "v10,v1"},
        {"id": 3, "predictions_model_versions": "v1"},
    ]
    stub.answers = [Answer(body={"tasks": rows, "total": 3})]

    assert await server.predicted_tasks(7, [1, 2, 3], "v1") == {2, 3}


async def test_a_moment_without_a_time_zone_is_refused(server: LabelStudio) -> None:
    with pytest.raises(ValueError, match="time zone"):
        _ = [page async for page in server.tasks(7, updated_since=datetime(2026, 1, 1))]


async def test_what_is_gone_is_told_from_what_failed(stub: Stub, server: LabelStudio) -> None:
    stub.answers = [Answer(status=404, body={"detail": "Not found."})]

    assert await server.annotation(5) is None
    assert await server.delete_backend(5) is False
    with pytest.raises(LabelStudioError) as caught:
        await server.project(5)

    assert caught.value.code == "label_studio_not_found"
