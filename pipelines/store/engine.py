"""Opens the database: checks its URL, connects, and brings its tables up to date."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from models.errors import ConfigError
from pipelines.errors import StoreUnavailableError

logger = logging.getLogger(__name__)

_POOL_TIMEOUT_S = 10.0

# Of TCP connections: a host that has vanished is noticed within half a minute, not after Linux' two hours.
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# Any number does, as long as every prelabel uses the same: "prelabel" in ASCII.
_MIGRATION_LOCK = int.from_bytes(b"prelabel")


def create(url: str, *, pool_size: int = 5) -> AsyncEngine:
    """Build an engine for ``postgresql://`` or ``postgresql+psycopg://``; it connects when it is first used.

    Raises:
        ConfigError: this is not a PostgreSQL URL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as err:
        raise ConfigError("the store's URL cannot be read; wanted postgresql://user@host/database") from err
    if parsed.get_backend_name() != "postgresql":
        raise ConfigError(f"the store is PostgreSQL; got a URL for {parsed.get_backend_name()}")
    return create_async_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=_POOL_TIMEOUT_S,
        connect_args=_PATIENCE,
        pool_pre_ping=True,  # a restarted server costs one look, not a failed request
        json_serializer=_to_json,
    )


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction, which is committed at the end, or rolled back when an exception leaves it.

    Raises:
        StoreUnavailableError: the database does not answer, or every connection is busy for long.
    """
    with _availability():
        async with engine.begin() as connection:
            yield connection


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to read with.

    Raises:
        StoreUnavailableError: as in ``transaction``.
    """
    with _availability():
        async with engine.connect() as connection:
            yield connection


@contextmanager
def _availability() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, TimeoutError) as err:
        logger.warning("the store does not answer: %s", getattr(err, "orig", None) or err)  # not the rows with it
        raise StoreUnavailableError from err


async def migrate(engine: AsyncEngine) -> None:
    """Bring the tables up to date in one transaction; of several processes at once, one works and the others wait.

    Raises:
        ConfigError: the database cannot be reached.
    """
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade)
    except OperationalError as err:
        raise ConfigError(f"cannot use the store at {engine.url.render_as_string()}: {err.orig}") from err


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "pipelines.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _to_json(value: object) -> str:
    """JSON without NaN and infinities, which no JSON reader has to accept."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
