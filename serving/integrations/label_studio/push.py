"""Sends a connected project the predictions that no answer has brought it, each once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import PrelabelError
from models.types import Task as LabelTask
from pipelines.formats.characters import clean
from pipelines.store.label_studio.connections import Connection
from pipelines.store.label_studio.deliveries import Deliveries, Key, Owed, item_id
from pipelines.store.store import Store
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.call import Bound, Refused, bound, prediction_of, wanted
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.records import Project
from serving.settings import Settings

logger = logging.getLogger(__name__)

_AT_A_TIME = 500  # Label Studio writes so many at a time, too (PREDICTION_IMPORT_BATCH_SIZE)
_LOOKED_UP_AT_A_TIME = 100_000  # more than an answer holds; Label Studio is asked for 250 at a time


class Pusher:
    """Pushes what is owed to one connection; one process at a time may do so (see ``held``).

    What nobody knows of whether it arrived, as the answer to a push was lost, is looked up before it is sent again.
    """

    def __init__(self, settings: Settings, store: Store, connection: Connection, server: LabelStudio) -> None:
        self._settings, self._connection, self._server = settings, connection, server
        self._deliveries = Deliveries(store, connection.id)

    async def look_up(self) -> None:
        """Find out what has arrived of that which may have.

        All of an answer is looked at before any of it is taken for lost: Label Studio stores it in an order of its own.

        Raises:
            PrelabelError: Label Studio does not say.
        """
        while unsure := await self._deliveries.unsure(limit=_LOOKED_UP_AT_A_TIME):
            for version, keys in unsure.items():
                there = await self._server.predicted_tasks(
                    self._connection.project_id, [task_id for task_id, _ in keys], version
                )
                arrived = [key for key in keys if key[0] in there]
                await self._deliveries.settle(arrived, version=version, is_there=True)
                await self._deliveries.settle(set(keys) - set(arrived), version=version, is_there=False)

    async def is_owing(self) -> bool:
        """Whether there is something to push."""
        return await self._deliveries.is_owing()

    async def push(self, project: Project) -> int:
        """Send what is there and owed; how many predictions.

        Raises:
            PrelabelError: Label Studio does not take them now; what nobody knows of is looked up the next time.
        """
        await self._deliveries.forget_failed()
        sent = 0
        while owed := await self._deliveries.take(limit=_AT_A_TIME):
            try:
                sent += await self._push(owed, project)
            except LabelStudioError:
                await self._deliveries.cut_off()
                raise
        return sent

    async def _push(self, owed: Sequence[Owed], project: Project) -> int:
        """Send of these what still fits its task."""
        tasks: set[LabelTask] = {one.labelled.task for one in owed}
        shown = {task: self._bound(task, project) for task in tasks}
        await self._postpone([one for one in owed if shown[one.labelled.task] is None])
        able = [(one, found) for one in owed if (found := shown[one.labelled.task]) is not None]
        now = await self._data_of([one.task_id for one, _ in able])
        fitting = [(one, found) for one, found in able if one.task_id in now and self._is_of(one, found, now)]
        rows = await asyncio.to_thread(lambda: [self._row(one, found) for one, found in fitting])
        sent = await self._send([(one, row) for (one, _), row in zip(fitting, rows, strict=True) if row is not None])
        written = {one.key for (one, _), row in zip(fitting, rows, strict=True) if row is not None}
        await self._give_up([one for one, _ in able if one.key not in written])
        return sent

    def _bound(self, task: LabelTask, project: Project) -> Bound | None:
        """The project's labeling config for a task; None where it is not for that, now."""
        try:
            return bound(self._settings, task, project.label_config)
        except PrelabelError as err:
            logger.warning("%s cannot show predictions for %s now: %s", self._connection.name, task, err.message)
            return None

    async def _data_of(self, task_ids: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        """The data of those of these tasks that are still there, as it is now."""
        found = dict[int, Mapping[str, Any]]()
        if task_ids:
            async for page in self._server.tasks(self._connection.project_id, ids=task_ids):
                found |= {task.id: task.data for task in page}
        return found

    def _is_of(self, owed: Owed, found: Bound, now: Mapping[int, Mapping[str, Any]]) -> bool:
        """Whether a task still holds what was labelled of it; another text would get this one's spans."""
        task = {"id": owed.task_id, "data": now[owed.task_id]}
        held = wanted(task, found, server_url=self._connection.url)
        if isinstance(held, Refused):
            return False
        item = owed.labelled.item
        if item.text is not None:
            return held.item.text is not None and clean(held.item.text) == clean(item.text)
        # What was labelled elsewhere, and is shown by a task of this project, was found at another address.
        return item.id != item_id(owed.task_id, owed.digest) or held.item.uri == item.uri

    async def _send(self, part: Sequence[tuple[Owed, dict[str, Any]]]) -> int:
        """Send these in one call, which Label Studio stores all at once; how many it took.

        What it refuses though it has all their tasks is sent in halves: there may be too much of it, or one may be bad.

        Raises:
            LabelStudioError: it took none, or nobody knows.
        """
        if not part:
            return 0
        project_id = self._connection.project_id
        try:
            stored = await self._server.import_predictions(project_id, [row for _, row in part])
        except LabelStudioError as err:
            if err.code != "label_studio_rejected":
                raise
            there = await self._server.existing_tasks(project_id, [owed.task_id for owed, _ in part])
            await self._give_up([owed for owed, _ in part if owed.task_id not in there])
            rest = [one for one in part if one[0].task_id in there]
            if len(rest) < len(part):
                return await self._send(rest)
            if len(part) > 1:
                half = len(part) // 2
                return await self._send(part[:half]) + await self._send(part[half:])
            logger.warning("%s refuses a prediction: %s", self._connection.name, err.message)
            await self._give_up([owed for owed, _ in part])
            return 0
        for version, keys in _by_version([owed for owed, _ in part]).items():
            await self._settle(version, keys, is_sure=stored == len(part))
        return stored

    async def _settle(self, version: str, keys: Sequence[Key], *, is_sure: bool) -> None:
        """Note that these were sent; those that Label Studio has left out in silence would be left out again."""
        lost = set[Key]()
        if not is_sure:
            task_ids = [task_id for task_id, _ in keys]
            there = await self._server.predicted_tasks(self._connection.project_id, task_ids, version)
            lost = {key for key in keys if key[0] not in there}
        await self._deliveries.settle(set(keys) - lost, version=version, is_there=True)
        if lost:
            logger.warning("%s has left out %s predictions as invalid", self._connection.name, len(lost))
            await self._deliveries.give_up(lost, version=version)

    async def _postpone(self, owed: Sequence[Owed]) -> None:
        for version, keys in _by_version(owed).items():
            await self._deliveries.postpone(keys, version=version)

    async def _give_up(self, owed: Sequence[Owed]) -> None:
        for version, keys in _by_version(owed).items():
            await self._deliveries.give_up(keys, version=version)

    def _row(self, owed: Owed, found: Bound) -> dict[str, Any] | None:
        try:
            return {"task": owed.task_id, **prediction_of(found, owed.labelled, version=owed.version)}
        except Exception:  # one that cannot be written must not keep the others
            logger.exception("a prediction for %s cannot be written", self._connection.name)
        return None


def _by_version(owed: Sequence[Owed]) -> dict[str, list[Key]]:
    found = dict[str, list[Key]]()
    for one in owed:
        found.setdefault(one.version, []).append(one.key)
    return found
