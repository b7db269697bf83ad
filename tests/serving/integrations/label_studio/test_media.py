"""Checks that a project's token opens the files of its own Label Studio, and goes nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from models.errors import ItemError
from models.types import Item
from pipelines.fetch import FetchPolicy
from pipelines.store.label_studio.connections import Connection
from serving.integrations.label_studio.media import ConnectionMedia
from tests.serving.integrations.label_studio.builders import png
from tests.serving.integrations.label_studio.studio import TOKEN, Studio, a_studio

FILE = "/data/upload/2/a%20b.png"


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    async with a_studio() as running:
        running.files = {FILE: png(), "/ls" + FILE: png(), "/secret.png": png()}
        yield running


def a_connection(studio: Studio, *, path: str = "", token: str = TOKEN, number: str = "1") -> Connection:
    return Connection(
        id=number,
        url=studio.url + path,
        project_id=2,
        task="auto",
        token=token,
        is_automatic=True,
        polled_until=None,
    )


async def opened(media: ConnectionMedia, connection: Connection, uri: str) -> bytes:
    return (await media.of(connection).fetch(Item(id="a", media="image", uri=uri))).data


def tokens(studio: Studio) -> set[str | None]:
    return {token for _, _, token in studio.calls}


async def test_a_file_is_opened_with_the_token(studio: Studio) -> None:
    async with ConnectionMedia(FetchPolicy(only_allowed_hosts=True)) as media:
        assert await opened(media, a_connection(studio), studio.url + FILE) == png()

    assert tokens(studio) == {f"Token {TOKEN}"}


@pytest.mark.parametrize("path", ["/secret.png", "/api/current-user/whoami", "/database/x.png", "/data", "/ls" + FILE])
async def test_what_is_no_file_of_a_project_is_asked_for_without_it(studio: Studio, path: str) -> None:
    async with ConnectionMedia(FetchPolicy(allowed_hosts=(f"127.0.0.1:{studio.port}",))) as media:
        with pytest.raises(ItemError):
            await opened(media, a_connection(studio), studio.url + path)

    assert tokens(studio) == {None}


@pytest.mark.parametrize(
    "path", ["/data/../secret.png", "/data/%2e%2e/secret.png", "/data//x", "/data/..%2Fsecret.png"]
)
async def test_a_path_that_can_be_read_in_two_ways_gets_no_token(studio: Studio, path: str) -> None:
    async with ConnectionMedia(FetchPolicy(allowed_hosts=(f"127.0.0.1:{studio.port}",))) as media:
        with pytest.raises(ItemError):
            await opened(media, a_connection(studio), studio.url + path)

    assert tokens(studio) <= {None}


async def test_the_files_of_a_server_under_a_path_are_below_it(studio: Studio) -> None:
    async with ConnectionMedia(FetchPolicy(allowed_hosts=(f"127.0.0.1:{studio.port}",))) as media:
        connection = a_connection(studio, path="/ls")
        assert await opened(media, connection, studio.url + "/ls" + FILE) == png()
        with pytest.raises(ItemError):
            await opened(media, connection, studio.url + FILE)

    assert [token is not None for _, _, token in studio.calls] == [True, False]


async def test_a_connection_opens_nothing_by_the_token_of_another(studio: Studio) -> None:
    async with (
        a_studio() as other,
        ConnectionMedia(FetchPolicy(only_allowed_hosts=True)) as media,
    ):
        other.files = {FILE: png()}
        ours, theirs = a_connection(studio), a_connection(other, number="2")
        assert await opened(media, theirs, other.url + FILE) == png()
        with pytest.raises(ItemError):
            await opened(media, ours, other.url + FILE)

        assert len(other.calls) == 1


async def test_a_connection_with_another_token_is_another_connection(studio: Studio) -> None:
    async with ConnectionMedia(FetchPolicy(only_allowed_hosts=True)) as media:
        assert await opened(media, a_connection(studio), studio.url + FILE) == png()
        with pytest.raises(ItemError):
            await opened(media, a_connection(studio, token="f" * 40), studio.url + FILE)

        assert media.of(a_connection(studio)) is media.of(a_connection(studio))
        assert media.of(a_connection(studio)) is not media.of(a_connection(studio, token="f" * 40))
