"""Takes over what happened in a connected project: new tasks are labelled, answers enter the correction ledger."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from models.errors import PrelabelError
from models.types import Task as LabelTask
from pipelines.errors import StoreUnavailableError
from pipelines.formats.label_studio.prediction import not_offered
from pipelines.formats.label_studio.reading import read_annotations
from pipelines.formats.results import result
from pipelines.platform_answers import PlatformAnswer, PlatformAnswers
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.label_studio.deliveries import Delivered, Deliveries, Key, Wanted
from pipelines.store.label_studio.events import Event
from pipelines.store.store import Store
from pipelines.types import Labelled
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.call import Given, bound, wanted
from serving.integrations.label_studio.records import Annotation, Project, Task
from serving.integrations.label_studio.version import Version
from serving.settings import Settings

logger = logging.getLogger(__name__)

_AT_A_TIME = 500  # tasks
_MOST_NAMED = 10
_OVERLAP = timedelta(minutes=2)  # of two looks, as a change is seen somewhat after the moment that it bears


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The pre-label that an answer is about, and whether whoever gave it could have seen one."""

    run_id: str
    item_id: str
    labelled: Labelled
    was_shown: bool


class Latest:
    """The latest change that a project is known to have, and since when nothing newer has been seen.

    A change is seen somewhat after the moment that it bears, so each look overlaps with the one before; but when
    nothing new has come for long, what is known need not be read again.
    """

    def __init__(self) -> None:
        self._moment: datetime | None = None
        self._since = 0.0

    def see(self, moment: datetime, *, now: float) -> None:
        if self._moment != moment:
            self._moment, self._since = moment, now

    def after(self, polled_until: datetime | None, *, now: float) -> datetime | None:
        """From when on changes are to be looked for; None for all there are."""
        if polled_until is None:
            return None
        if self._moment is not None and now - self._since > 2 * _OVERLAP.total_seconds():
            return self._moment + timedelta(microseconds=1)
        return polled_until - _OVERLAP


class Follower:
    """Looks up what hints are about, and what no hint told of.

    What a hint says is not believed; everything is read from Label Studio, in its state of now. So hints may come
    twice, late, in any order, or not at all.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        version: Callable[[LabelTask], Version],
        given: Given,
        store: Store,
        connection: Connection,
        server: LabelStudio,
    ) -> None:
        """``version`` says what labels a task's items now (version.py), ``given`` by which labels (labels.py)."""
        self._settings, self._version, self._given, self._server = settings, version, given, server
        self._connection, self._connections = connection, Connections(store)
        self._latest = Latest()
        self._deliveries, self._answers = Deliveries(store, connection.id), PlatformAnswers(store)

    async def follow(self, event: Event, project: Project) -> None:
        """Look up what a hint is about.

        Raises:
            PrelabelError: the store or Label Studio does not do its part; the hint can be followed again.
        """
        match event.action:
            case "tasks":
                await self._label_tasks(event.ids, project)
            case "annotations":
                for annotation_id in event.ids:
                    await self._take_annotation(annotation_id, project)
            case other:
                logger.warning("a hint of %s is about '%s', which nobody follows", self._connection.name, other)

    async def poll(self, project: Project) -> None:
        """Look for what no hint told of since the last look: tasks without a pre-label, and answers.

        Raises:
            PrelabelError: as in ``follow``; the next look begins where this one did.
        """
        since = (await self._connections.get(self._connection.id)).polled_until
        began, latest = asyncio.get_running_loop().time(), None
        failure: PrelabelError | None = None
        async for page in self._server.tasks(
            self._connection.project_id,
            updated_since=self._latest.after(since, now=began),
            with_annotations=True,
            page=_AT_A_TIME,
        ):
            await self._take_answers(page, project)
            try:
                await self._label(page, project)
            except StoreUnavailableError:
                raise
            except PrelabelError as err:  # answers can be taken all the same
                failure = err
            for task in page:
                latest = task.updated_at if latest is None else max(latest, task.updated_at)
        if failure is not None:
            raise failure
        if latest is not None:
            # What has changed on a page since that was read is not known yet. None of it is older than the beginning.
            ended = asyncio.get_running_loop().time()
            await self._connections.polled(self._connection.id, latest - timedelta(seconds=ended - began))
            self._latest.see(latest, now=ended)

    async def pull(self, project: Project) -> int:
        """Take over every answer of the project as it is now; how many tasks were looked at.

        Raises:
            PrelabelError: as in ``follow``.
        """
        seen = 0
        async for page in self._server.tasks(self._connection.project_id, with_annotations=True, page=_AT_A_TIME):
            await self._take_answers(page, project)
            seen += len(page)
        return seen

    async def _label_tasks(self, task_ids: Collection[int], project: Project) -> None:
        async for page in self._server.tasks(self._connection.project_id, ids=task_ids):
            await self._label(page, project)

    async def _label(self, tasks: Sequence[Task], project: Project) -> None:
        """Let a run label what of these has no pre-label of this version, unless the project does not want it."""
        if self._connection.is_automatic:
            await self._begin(tasks, project)

    async def revive(self, project: Project) -> int:
        """Let what nobody makes any more be made anew, by what labels now; of how many predictions.

        Raises:
            PrelabelError: as in ``follow``.
        """
        count = 0
        for version, keys in (await self._deliveries.stranded(limit=_AT_A_TIME)).items():
            await self._deliveries.give_up(keys, version=version)
            async for page in self._server.tasks(self._connection.project_id, ids=[task_id for task_id, _ in keys]):
                await self._begin(page, project)
            count += len(keys)
        return count

    async def _begin(self, tasks: Sequence[Task], project: Project) -> None:
        """Let a run label what of these has no pre-label of this version."""
        found = bound(self._settings, self._connection.task, project.label_config, given=self._given)
        version = self._version(found.task)
        given = (
            wanted({"id": task.id, "data": task.data}, found, server_url=self._connection.url)
            for task in tasks
            if not task.total_annotations
        )
        items = {one.key: one for one in given if isinstance(one, Wanted)}
        known = await self._deliveries.known(items, version=version.name)
        without = {task.id for task in tasks if not task.total_predictions}
        await self._give_again({key for key in known if key[0] in without}, version.name)
        new = set(items) - known
        predicted = {task.id for task in tasks if task.total_predictions and (any(key[0] == task.id for key in new))}
        if predicted:
            there = await self._server.predicted_tasks(self._connection.project_id, predicted, version.name)
            new = {key for key in new if key[0] not in there}
        if new:
            await self._deliveries.begin(
                [items[key] for key in new],
                version=version.name,
                task=found.task,
                fingerprint=version.labels_with,
                online_run="",
                new_run=f"label-studio-{uuid.uuid4().hex[:12]}",
                few=0,
                held_s=0.0,
            )

    async def _give_again(self, keys: Collection[Key], version: str) -> None:
        """Let be pushed what was delivered for tasks that are gone, and whose numbers others with their data have now.

        Label Studio 1.23.2 over SQLite, as it comes, counts on from the last task that is left.
        """
        had = await self._deliveries.delivered(keys, version=version) if keys else set[Key]()
        if had:
            there = await self._server.predicted_tasks(self._connection.project_id, {key[0] for key in had}, version)
            await self._deliveries.owe_again({key for key in had if key[0] not in there}, version=version)

    async def _take_annotation(self, annotation_id: int, project: Project) -> None:
        annotation = await self._server.annotation(annotation_id) or await self._found_elsewhere(annotation_id)
        if annotation is not None:
            await self._take(annotation, project)
        elif (await self._answers.known([self._key(annotation_id)])).get(self._key(annotation_id)) is not None:
            await self._answers.withdraw(self._key(annotation_id))

    async def _found_elsewhere(self, annotation_id: int) -> Annotation | None:
        """An annotation that is said not to be there, among those of its task: withdrawing it is for good, and whoever
        stands before Label Studio may say so, too.
        """
        known = (await self._answers.known([self._key(annotation_id)])).get(self._key(annotation_id))
        if known is None or known.run_id is None or known.item_id is None:
            return None
        task_id = await self._deliveries.task_of(known.run_id, known.item_id)
        if task_id is None:
            return None
        there = await self._server.annotations(self._connection.project_id, [task_id])
        return next((one for one in there.get(task_id, ()) if one.id == annotation_id), None)

    async def _take_answers(self, tasks: Sequence[Task], project: Project) -> None:
        """Take the answers of these tasks as they are now, those that were deleted among them."""
        now = {annotation.id for task in tasks for annotation in task.annotations or ()}
        items = dict[tuple[str, LabelTask], list[str]]()
        for one in await self._deliveries.of_tasks([task.id for task in tasks]):
            items.setdefault((one.run_id, one.task), []).append(one.item_id)
        for (run_id, task), item_ids in items.items():
            for key, answer in (await self._answers.known_of(run_id, item_ids, task=task)).items():
                annotation_id = self._annotation_id(key)
                if annotation_id is not None and not answer.is_withdrawn and annotation_id not in now:
                    await self._take_annotation(annotation_id, project)  # it may have been made since
        for task in tasks:
            for annotation in task.annotations or ():
                await self._take(annotation, project)

    async def _take(self, annotation: Annotation, project: Project) -> None:
        """Enter one answer, if it is about a pre-label of ours."""
        key = self._key(annotation.id)
        if annotation.was_cancelled:
            await self._answers.withdraw(key, updated_at=annotation.updated_at)
            return
        shown = await self._shown(key, annotation)
        if shown is None:
            return
        try:
            await self._answers.record(self._answer(key, annotation, shown, project))
        except StoreUnavailableError:
            raise
        except PrelabelError as err:  # what cannot be read now cannot be read later
            logger.warning("annotation %s of %s is left out: %s", annotation.id, self._connection.name, err.message)
        except Exception:  # and must not keep the others
            logger.exception("annotation %s of %s is left out", annotation.id, self._connection.name)

    async def _shown(self, key: str, annotation: Annotation) -> Shown | None:
        """The pre-label that an answer is about: for ever the same, and at first the one that it began with, else the
        last one of its task. Whoever could have seen any of the task's pre-labels has seen it.
        """
        found = await self._deliveries.of_tasks([annotation.task])
        was_shown = any(not one.labelled.decision.is_hidden for one in found)
        known = (await self._answers.known([key])).get(key)
        if known is not None and known.run_id is not None and known.item_id is not None:
            return await self._known(known.run_id, known.item_id, found, was_shown=was_shown)
        if len(found) > 1 and annotation.parent_prediction is not None:
            predictions = await self._server.predictions(annotation.task)
            versions = {one.model_version for one in predictions if one.id == annotation.parent_prediction}
            found = [one for one in found if one.version in versions] or found
        if not found:
            return None
        last = found[-1]
        return Shown(run_id=last.run_id, item_id=last.item_id, labelled=last.labelled, was_shown=was_shown)

    async def _known(self, run_id: str, item_id: str, found: Sequence[Delivered], *, was_shown: bool) -> Shown | None:
        """The pre-label that an answer was about before, whether its task still has it or another since."""
        tasks: set[LabelTask] = {one.task for one in found} or set(self._settings.tasks)
        for task in tasks:
            if (labelled := await self._deliveries.of_item(run_id, item_id, task)) is not None:
                seen = was_shown or not labelled.decision.is_hidden
                return Shown(run_id=run_id, item_id=item_id, labelled=labelled, was_shown=seen)
        return None

    def _answer(self, key: str, annotation: Annotation, shown: Shown, project: Project) -> PlatformAnswer:
        labelled = shown.labelled
        found = bound(self._settings, labelled.task, project.label_config)
        if unseen := not_offered(found.binding, result(labelled)):
            names = ", ".join(f"'{label}'" for label in unseen[:_MOST_NAMED])
            message = f"its pre-label has labels that the project does not offer ({names}), so nobody has judged them"
            raise PrelabelError("not_shown", f"{message}; name the models' labels in an ontology")
        return PlatformAnswer(
            key=key,
            run_id=shown.run_id,
            item_id=shown.item_id,
            task=labelled.task,
            reviewer=f"label-studio:{annotation.completed_by}",
            annotations=read_annotations(
                found.binding, annotation.result, text=labelled.item.text, pre_label=result(labelled)
            ),
            was_shown=shown.was_shown,
            created_at=annotation.created_at,
            updated_at=annotation.updated_at,
            seconds=annotation.lead_time_s,
        )

    def _key(self, annotation_id: int) -> str:
        return f"label-studio:{self._connection.id}:{annotation_id}"

    def _annotation_id(self, key: str) -> int | None:
        prefix = self._key(0)[:-1]
        return int(key.removeprefix(prefix)) if key.startswith(prefix) else None
