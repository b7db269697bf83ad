"""Does for connected projects what no call of theirs waits for: pushes, follows hints, and looks for what was lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.errors import PrelabelError
from pipelines.errors import StoreUnavailableError
from pipelines.prelabel import Flow
from pipelines.store.hold import held
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.label_studio.events import Event, Events
from pipelines.store.store import Store
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.follow import Follower
from serving.integrations.label_studio.labels import given_labels
from serving.integrations.label_studio.push import Pusher
from serving.integrations.label_studio.records import Project
from serving.integrations.label_studio.version import current_version
from serving.service import DeployedModels
from serving.settings import Settings

logger = logging.getLogger(__name__)

_LOCK = "label-studio"
_LOOK_S = 1.0  # for what is owed, and for hints
_PROJECT_S = 30.0  # for which a project's labeling config is taken as it was
_REVIVE_S = 30.0  # between two looks for what nobody makes any more
_LOOK_UP_S = 15.0  # between two looks at what may have arrived
_LONGEST_PAUSE_S = 60.0  # after a failure


class LabelStudioWorker:
    """Serves every connected project, in one process of all that share a store.

    Killed at any moment it leaves what is owed in the store, where the next one finds it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        models: DeployedModels,
        store: Store,
        flow: Flow,
        look_s: float = _LOOK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._models, self._store, self._flow = settings, models, store, flow
        self._look_s, self._clock = look_s, clock
        self._served = dict[Connection, asyncio.Task[None]]()

    async def work(self) -> None:
        """Serve the projects until this is cancelled."""
        while True:
            with suppress(StoreUnavailableError):
                async with held(self._store.engine, _LOCK) as connection:
                    if connection is not None:
                        await self._serve(connection)
            await asyncio.sleep(self._look_s)

    async def _serve(self, lock: AsyncConnection) -> None:
        """Serve the projects as long as the store answers, and the session lives that makes us the only ones."""
        try:
            while True:
                await lock.execute(select(literal(1)))
                wanted = {replace(one, polled_until=None) for one in await Connections(self._store).all()}
                for gone in self._served.keys() - wanted:
                    self._served.pop(gone).cancel()
                for connection in wanted - self._served.keys():
                    self._served[connection] = asyncio.create_task(self._keep_serving(connection))
                await asyncio.sleep(self._look_s)
        finally:
            await self._end()

    async def _end(self) -> None:
        for task in self._served.values():
            task.cancel()
        if self._served:
            await asyncio.wait(self._served.values())
        self._served.clear()

    async def _keep_serving(self, connection: Connection) -> None:
        """Push and follow hints, and beside that, as it may take long, look for what no hint told of."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._keep(connection, ConnectedProject.look))
            loops.create_task(self._keep(connection, ConnectedProject.look_around))

    async def _keep(self, connection: Connection, look: Callable[[ConnectedProject], Awaitable[None]]) -> None:
        pause_s = self._look_s
        while True:
            try:
                async with LabelStudio(connection.url, token=connection.token) as server:
                    project = self.project(connection, server)
                    while True:
                        await look(project)
                        pause_s = self._look_s
                        await asyncio.sleep(pause_s)
            except PrelabelError as err:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                logger.warning("%s: %s (again in %.0f s)", connection.name, err.message, pause_s)
            except Exception:  # one project must not cost the others
                pause_s = _LONGEST_PAUSE_S
                logger.exception("serving %s failed unexpectedly", connection.name)
            await asyncio.sleep(pause_s)

    def project(self, connection: Connection, server: LabelStudio) -> ConnectedProject:
        """One project, to be looked at again and again."""
        follower = Follower(
            self._settings,
            version=partial(current_version, self._settings, self._models, self._flow),
            given=partial(given_labels, self._settings, self._models),
            store=self._store,
            connection=connection,
            server=server,
        )
        return ConnectedProject(
            pusher=Pusher(self._settings, self._store, connection, server),
            follower=follower,
            events=Events(self._store, connection.id),
            read=partial(server.project, connection.project_id),
            poll_s=self._settings.label_studio.poll_s,
            clock=self._clock,
        )


class ConnectedProject:
    """What is done for one project at each look."""

    def __init__(
        self,
        *,
        pusher: Pusher,
        follower: Follower,
        events: Events,
        read: Callable[[], Awaitable[Project]],
        poll_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._pusher, self._follower, self._events, self._read = pusher, follower, events, read
        self._look_up, self._poll, self._reread = (Every(s, clock=clock) for s in (_LOOK_UP_S, poll_s, _PROJECT_S))
        self._revive = Every(_REVIVE_S, clock=clock)
        self._project: Project | None = None

    async def look(self) -> None:
        """Push what is owed, and follow the hints.

        Raises:
            PrelabelError: the store or Label Studio does not do its part; what is owed stays owed.
        """
        if self._look_up.is_due():
            await self._pusher.look_up()
            self._look_up.done()
        if await self._pusher.is_owing():
            await self._pusher.push(await self._current())
        for event in await self._events.due():
            await self._follow(event)

    async def look_around(self) -> None:
        """Look for what no hint told of, and for what nobody makes any more.

        Raises:
            PrelabelError: as in ``look``.
        """
        if self._revive.is_due():
            await self._follower.revive(await self._current())
            self._revive.done()
        if self._poll.is_due():
            await self._follower.poll(await self._current())
            self._poll.done()

    async def _follow(self, event: Event) -> None:
        try:
            await self._follower.follow(event, await self._current())
        except StoreUnavailableError:
            raise
        except PrelabelError as err:
            await self._events.failed(event, err.message)
        except Exception as err:  # one hint must not keep the others
            logger.exception("a hint cannot be followed")
            await self._events.failed(event, type(err).__name__)
        else:
            await self._events.done(event.id)

    async def _current(self) -> Project:
        """The project as it was a moment ago."""
        if self._project is None or self._reread.is_due():
            self._project = await self._read()
            self._reread.done()
        return self._project


class Every:
    """Says when something is due that is done every so many seconds, and at once."""

    def __init__(self, seconds: float, *, clock: Callable[[], float]) -> None:
        self._seconds, self._clock = seconds, clock
        self._last: float | None = None

    def is_due(self) -> bool:
        return self._last is None or self._clock() - self._last >= self._seconds

    def done(self) -> None:
        self._last = self._clock()
