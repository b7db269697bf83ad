"""Tests that the database is opened, migrated once, and refused with a reason when it cannot be used."""

from __future__ import annotations

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from models.errors import ConfigError
from pipelines.store.store import Store
from pipelines.store.tables import metadata
from tests.pipelines.builders import a_labelled


async def test_an_empty_database_gets_its_tables(empty_postgres_url: str) -> None:
    async with Store.open(empty_postgres_url) as store:
        run_id = await store.start_run("a drop")
        await store.save([a_labelled()], run_id=run_id)

        assert len(await store.results(run_id)) == 1


async def test_opening_again_keeps_what_is_there(empty_postgres_url: str) -> None:
    async with Store.open(empty_postgres_url) as store:
        run_id = await store.start_run("a drop")

    async with Store.open(empty_postgres_url) as store:
        assert (await store.run(run_id)).name == "a drop"


async def test_many_who_open_an_empty_database_at_once_migrate_it_once(empty_postgres_url: str) -> None:
    async def open_and_start() -> str:
        async with Store.open(empty_postgres_url, pool_size=1) as store:
            return await store.start_run("a drop")

    run_ids = await asyncio.gather(*(open_and_start() for _ in range(6)))

    async with Store.open(empty_postgres_url) as store, store.engine.connect() as connection:
        assert len(await store.runs()) == len(set(run_ids)) == 6
        assert (await connection.execute(text("SELECT count(*) FROM alembic_version"))).scalar() == 1


async def test_the_migrations_build_the_tables_that_the_queries_name(postgres_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_server_default": True}), metadata)

    async with Store.open(postgres_url) as store, store.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_url_without_a_driver_is_good_too(postgres_url: str) -> None:
    async with Store.open(postgres_url.replace("+psycopg", "")) as store:
        assert await store.runs() == []


@pytest.mark.parametrize("url", ["sqlite:///store.db", "no url", ""])
async def test_only_postgresql_is_a_store(url: str) -> None:
    with pytest.raises(ConfigError, match=r"postgresql|PostgreSQL"):
        async with Store.open(url):
            pass


async def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1/") as caught:
        async with Store.open("postgresql://user:hunter2@127.0.0.1:1/labels"):
            pass

    assert "hunter2" not in caught.value.message
