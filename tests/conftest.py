"""Holds what tests of several folders need: a PostgreSQL server for the session and a database for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Two workers and a service share the cores; libraries read this when they are imported. With a pool of threads for each
# process the segmentation tests took 204 s instead of 18 on four busy cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", deadline=None)  # machines are shared; no test measures time
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left alone with it."""
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("ray", "full_size")))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of one embedded server, in a folder with a short path that any user can reach."""
    from pipelines.store.embedded import embedded_postgres

    folder = Path(tempfile.mkdtemp(prefix="pl", dir="/tmp"))
    folder.chmod(0o711)
    with embedded_postgres(folder, durable=False) as url:
        yield url
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of a database with the tables in it, to copy."""
    from pipelines.store.engine import create, migrate

    async def build() -> None:
        engine = create(_named(postgres_server, "store_template"))
        await migrate(engine)
        await engine.dispose()

    _admin(postgres_server, "CREATE DATABASE store_template")
    asyncio.run(build())
    return "store_template"


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A fresh database with the store's tables."""
    yield from _database(postgres_server, f"TEMPLATE {postgres_template}")


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh database without any table."""
    yield from _database(postgres_server, "TEMPLATE template0")


@pytest.fixture
def block_database(postgres_server: str, postgres_url: str) -> Callable[[bool], None]:
    """Cuts every connection to this test's database and lets no new one in, until it is called with False."""
    from sqlalchemy import make_url

    name = make_url(postgres_url).database

    def block(is_blocked: bool) -> None:
        _admin(postgres_server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not is_blocked}")
        if is_blocked:
            # Who waits for a lock goes first: when its holder goes, it must not get on.
            waiting_first = (
                "FROM pg_stat_activity WHERE datname <> current_database() ORDER BY wait_event_type <> 'Lock'"
            )
            _admin(postgres_server, f"SELECT pg_terminate_backend(pid) {waiting_first}")

    return block


def _database(server: str, options: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    _admin(server, f"CREATE DATABASE {name} {options}")
    yield _named(server, name)
    _admin(server, f"DROP DATABASE {name} WITH (FORCE)")


def _named(server: str, database: str) -> str:
    return server.replace("/postgres?", f"/{database}?")


def _admin(server: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement.encode())
