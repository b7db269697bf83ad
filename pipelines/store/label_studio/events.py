"""Keeps what webhooks have hinted at until it has been looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from pipelines.store import engine as database
from pipelines.store.jsonb import storable
from pipelines.store.store import Store
from pipelines.store.tables import label_studio_events as events

_LONGEST_WAIT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A hint: something was done (``action``, in Label Studio's words) to tasks or annotations with these ids."""

    id: int
    action: str
    ids: tuple[int, ...]
    attempts: int


class Events:
    """The hints of one connection, in the store."""

    def __init__(self, store: Store, connection_id: str) -> None:
        self._engine, self._connection_id = store.engine, connection_id

    async def add(self, action: str, ids: Sequence[int]) -> None:
        """Keep a hint."""
        row = {"connection_id": self._connection_id, "action": storable(action), "ids": list(ids)}
        async with database.transaction(self._engine) as connection:
            await connection.execute(insert(events).values(row))

    async def due(self, *, limit: int = 100) -> list[Event]:
        """The oldest hints that are to be looked up now."""
        query = (
            select(events.c.id, events.c.action, events.c.ids, events.c.attempts)
            .where(
                events.c.connection_id == self._connection_id,
                events.c.done_at.is_(None),
                events.c.due_at <= func.clock_timestamp(),
            )
            .order_by(events.c.id)
            .limit(limit)
        )
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(query)).mappings()
            return [Event(**{**row, "ids": tuple(row["ids"])}) for row in found]

    async def done(self, event_id: int) -> None:
        """Note that a hint has been followed."""
        change = update(events).where(events.c.id == event_id).values(done_at=func.clock_timestamp(), problem=None)
        async with database.transaction(self._engine) as connection:
            await connection.execute(change)

    async def failed(self, event: Event, problem: str) -> None:
        """Note why a hint could not be followed; it is tried again, later each time."""
        wait_s = min(2.0**event.attempts, _LONGEST_WAIT_S)
        due_at = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, wait_s)
        values = {"attempts": event.attempts + 1, "due_at": due_at, "problem": storable(problem)}
        async with database.transaction(self._engine) as connection:
            await connection.execute(update(events).where(events.c.id == event.id).values(**values))
