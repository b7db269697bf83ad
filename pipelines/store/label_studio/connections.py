"""Keeps which projects of Label Studio are connected, and with which token."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
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
        polled_until: up to which moment of its clock we have looked for what its webhooks may have lost.
    """

    id: str
    url: str
    project_id: int
    task: str
    token: str = field(repr=False)
    is_automatic: bool
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
        self, url: str, project_id: int, *, task: str, token: str, is_automatic: bool = True
    ) -> tuple[Connection, str]:
        """Connect a project, or connect it anew, which lets its old key go.

        Returns:
            The connection, and its key: a part of the backend's address, which is not kept and admits webhooks.
        """
        secret = secrets.token_urlsafe(32)
        values = {"task": task, "token": token, "secret_digest": _digest(secret), "is_automatic": is_automatic}
        new = insert(projects).values(
            id=secrets.token_hex(6), url=storable(url.rstrip("/")), project_id=project_id, **values
        )
        new = new.on_conflict_do_update(constraint="label_studio_projects_once", set_=values)
        async with database.transaction(self._engine) as connection:
            made = _connection((await connection.execute(new.returning(*projects.c))).mappings().one())
        return made, f"{made.id}-{secret}"

    async def admitted(self, key: str) -> Connection | None:
        """The connection whose key this is."""
        match = _KEY.fullmatch(key)
        if match is None:
            return None
        async with database.reading(self._engine) as connection:
            found = await connection.execute(select(projects).where(projects.c.id == match[1]))
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
            found = await connection.execute(select(projects).where(projects.c.id == storable(connection_id)))
            row = found.mappings().first()
        if row is None:
            raise NotFoundError(message=f"no connected project '{connection_id}'; connect it again")
        return _connection(row)

    async def of_project(self, url: str, project_id: int) -> Connection:
        """The connection of a project.

        Raises:
            NotFoundError: it is not connected.
        """
        this = (projects.c.url == storable(url.rstrip("/")), projects.c.project_id == project_id)
        async with database.reading(self._engine) as connection:
            row = (await connection.execute(select(projects).where(*this))).mappings().first()
        if row is None:
            message = f"project {project_id} of {url} is not connected; run 'prelabel label-studio connect' first"
            raise NotFoundError(message=message)
        return _connection(row)

    async def all(self) -> list[Connection]:
        """Every connection, the oldest first."""
        async with database.reading(self._engine) as connection:
            found = await connection.execute(select(projects).order_by(projects.c.created_at, projects.c.id))
            return [_connection(row) for row in found.mappings()]

    async def disconnect(self, connection_id: str) -> None:
        """Forget a connection, its token, and what is owed to it; pre-labels and reviews stay."""
        async with database.transaction(self._engine) as connection:
            await connection.execute(delete(projects).where(projects.c.id == storable(connection_id)))

    async def polled(self, connection_id: str, until: datetime) -> None:
        """Note up to where a project has been looked at."""
        later = func.greatest(func.coalesce(projects.c.polled_until, until), until)
        change = update(projects).where(projects.c.id == storable(connection_id)).values(polled_until=later)
        async with database.transaction(self._engine) as connection:
            await connection.execute(change)


def _connection(row: Any) -> Connection:
    names = ("id", "url", "project_id", "task", "token", "is_automatic", "polled_until")
    return Connection(**{name: row[name] for name in names})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
