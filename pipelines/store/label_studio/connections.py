"""Keeps which projects of Label Studio are connected, and with which token."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from pipelines.errors import NotFoundError
from pipelines.store import engine as database
from pipelines.store.jsonb import storable
from pipelines.store.store import Store
from pipelines.store.tables import label_studio_projects as projects

_KEY = re.compile(r"([0-9a-f]{12})-([0-9A-Za-z_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A project of a Label Studio that is connected.

    Attributes:
        url: where that Label Studio is, without a slash at the end.
        project_id: the project's number there.
        task: what its tasks are labelled for, or "auto": whatever its labeling config is for.
        token: what admits us there; a personal access token, or a legacy one.
        is_automatic: whether new tasks are labelled as soon as they are there.
        service_url: how that Label Studio reaches the service; "" where nobody has said.
        polled_until: up to which moment of its clock we have looked for what its webhooks may have lost.
    """

    id: str
    url: str
    project_id: int
    task: str
    token: str = field(repr=False)
    is_automatic: bool
    service_url: str = ""
    polled_until: datetime | None

    @property
    def name(self) -> str:
        """The project, for people."""
        return f"project {self.project_id} of {self.url}"


class Connections:
    """The connected projects, in the store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def connect(
        self, url: str, project_id: int, *, task: str, token: str, is_automatic: bool = True, service_url: str = ""
    ) -> tuple[Connection, str]:
        """Connect a project, or connect it anew, which lets its old key go.

        Returns:
            The connection, and its key: a part of the backend's address, which is not kept and admits webhooks.
        """
        secret = secrets.token_urlsafe(32)
        values = {
            "task": task,
            "token": token,
            "secret_digest": _digest(secret),
            "is_automatic": is_automatic,
            "service_url": storable(service_url.rstrip("/")),
            "is_connected": True,
        }
        new = insert(projects).values(
            id=secrets.token_hex(6), url=storable(url.rstrip("/")), project_id=project_id, **values
        )
        new = new.on_conflict_do_update(constraint="label_studio_projects_once", set_=values)
        async with database.transaction(self._engine) as connection:
            made = _connection((await connection.execute(new.returning(*projects.c))).mappings().one())
        return made, f"{made.id}-{secret}"

    async def standing(self, url: str, project_id: int) -> Mapping[str, Any] | None:
        """How a project is connected now, for ``put_back``; None where it is not."""
        this = (projects.c.url == storable(url.rstrip("/")), projects.c.project_id == project_id)
        async with database.reading(self._engine) as connection:
            found = await connection.execute(select(projects).where(*this, projects.c.is_connected))
            row = found.mappings().first()
        return None if row is None else {str(name): value for name, value in row.items()}

    async def put_back(self, standing: Mapping[str, Any]) -> None:
        """Let a project be connected as it was, with the key that it had."""
        names = ("task", "token", "secret_digest", "is_automatic", "service_url", "is_connected")
        change = update(projects).where(projects.c.id == standing["id"])
        async with database.transaction(self._engine) as connection:
            await connection.execute(change.values({name: standing[name] for name in names}))

    async def admitted(self, key: str) -> Connection | None:
        """The connection whose key this is."""
        match = _KEY.fullmatch(key)
        if match is None:
            return None
        async with database.reading(self._engine) as connection:
            found = await connection.execute(select(projects).where(projects.c.id == match[1], projects.c.is_connected))
            row = found.mappings().first()
        if row is None or not hmac.compare_digest(row["secret_digest"], _digest(match[2])):
            return None
        return _connection(row)

    async def get(self, connection_id: str) -> Connection:
        """The connection with this id.

        Raises:
            NotFoundError: there is none.
        """
        async with database.reading(self._engine) as connection:
            found = await connection.execute(
                select(projects).where(projects.c.id == storable(connection_id), projects.c.is_connected)
            )
            row = found.mappings().first()
        if row is None:
            raise NotFoundError(message=f"no connected project '{connection_id}'; connect it again")
        return _connection(row)

    async def all(self) -> list[Connection]:
        """Every connection, the oldest first."""
        async with database.reading(self._engine) as connection:
            these = select(projects).where(projects.c.is_connected)
            found = await connection.execute(these.order_by(projects.c.created_at, projects.c.id))
            return [_connection(row) for row in found.mappings()]

    async def disconnect(self, connection_id: str) -> None:
        """Forget a connection's token and key. What was labelled for it stays known, if it is connected again."""
        gone = {"token": "", "secret_digest": "", "is_connected": False}
        async with database.transaction(self._engine) as connection:
            await connection.execute(update(projects).where(projects.c.id == storable(connection_id)).values(gone))

    async def polled(self, connection_id: str, until: datetime) -> None:
        """Note up to where a project has been looked at."""
        later = func.greatest(func.coalesce(projects.c.polled_until, until), until)
        change = update(projects).where(projects.c.id == storable(connection_id)).values(polled_until=later)
        async with database.transaction(self._engine) as connection:
            await connection.execute(change)


def _connection(row: Any) -> Connection:
    names = ("id", "url", "project_id", "task", "token", "is_automatic", "service_url", "polled_until")
    return Connection(**{name: row[name] for name in names})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
