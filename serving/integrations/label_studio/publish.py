"""Puts pre-labels that were made elsewhere into a connected project: those of a run, or what waits in a queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from models.types import Task
from pipelines.formats.addresses import local_path
from pipelines.formats.characters import clean, to_bytes
from pipelines.formats.label_studio.binding import UnservableError
from pipelines.store.label_studio.connections import Connection
from pipelines.store.label_studio.deliveries import Adopted, Deliveries, Key
from pipelines.store.store import Store
from pipelines.store.values import Run
from pipelines.store.waiting import WaitingReview, waiting
from pipelines.types import Labelled
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.call import Bound, Refused, bound, prediction_of, wanted
from serving.integrations.label_studio.records import Project
from serving.integrations.label_studio.texts import Texts
from serving.integrations.label_studio.version import version_of
from serving.settings import Settings

ITEM = "prelabel_item"  # the field of a task's data that says which item it shows
_AT_A_TIME = 250  # tasks that are made by one call
_PAGE = 500
_LOCAL_FILES = "/data/local-files/?d="  # as if its document root were "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An item that a task shall show, with its pre-label, the version of that, and more for the task's data."""

    run: Run
    labelled: Labelled
    version: str
    facts: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        return self.run.id

    @property
    def name(self) -> str:
        return f"{self.run_id}/{self.labelled.item.id}"


@dataclass(slots=True, kw_only=True)
class Published:
    """How many tasks were made, were there before, or got a prediction; and what was left out, in words."""

    made: int = 0
    there: int = 0
    predicted: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Publisher:
    """Makes tasks of a project from items of the store, each once however often it is asked to.

    A task names its item (``prelabel_item``), by which it is found again: what was made before a call broke off is not
    made twice.
    """

    def __init__(
        self, settings: Settings, store: Store, connection: Connection, server: LabelStudio, project: Project
    ) -> None:
        self._settings, self._store, self._connection = settings, store, connection
        self._server, self._project = server, project
        self._deliveries = Deliveries(store, connection.id)
        self._bound = dict[Task, Bound | None]()

    async def push(self, run: Run) -> Published:
        """Show a run's items with their pre-labels.

        Where the drop was an export of this very project, whose items are its tasks, these get the predictions.

        Raises:
            LabelStudioError: the project cannot be read, or does not take tasks; what was made is found again.
        """
        if (run.source or {}).get("kind") == "label_studio":
            return await self._onto_tasks(run)
        return await self._make(self._of_run(run))

    async def mirror(self, queue: str) -> Published:
        """Show what waits in a review queue, with its priority, its reason and its uncertainty to sort by.

        What is to be reviewed blind has no pre-label, no uncertainty, and the reason "blind".

        Raises:
            LabelStudioError: as for ``push``.
        """
        return await self._make(self._waiting(queue))

    async def _of_run(self, run: Run) -> AsyncIterator[list[Shown]]:
        after = 0
        while page := await self._store.results(run.id, after=after, limit=_PAGE):
            outcomes = [stored.outcome for stored in page]
            yield [
                Shown(
                    run=run,
                    labelled=outcome,
                    version=_version(outcome, run),
                    facts={} if outcome.decision.is_hidden else {"uncertainty": _doubt(outcome)},
                )
                for outcome in outcomes
                if isinstance(outcome, Labelled)
            ]
            after = page[-1].position

    async def _waiting(self, queue: str) -> AsyncIterator[list[Shown]]:
        after, runs = 0, dict[str, Run]()
        while page := await waiting(self._store, queue, after=after, limit=_PAGE):
            for one in page:
                if one.run_id not in runs:
                    runs[one.run_id] = await self._store.run(one.run_id)
            yield [self._of_queue(one, runs[one.run_id], queue) for one in page]
            after = page[-1].id

    def _of_queue(self, one: WaitingReview, run: Run, queue: str) -> Shown:
        labelled = one.labelled
        facts: dict[str, Any] = {"queue": queue, "priority": round(one.priority, 6), "reason": "blind"}
        if not labelled.decision.is_hidden:
            facts |= {"uncertainty": _doubt(labelled)}
            # Where audits are shown, a reason would tell them from reviews.
            facts["reason"] = one.reason if labelled.decision.route == "review" else "review"
        return Shown(run=run, labelled=labelled, version=_version(labelled, run), facts=facts)

    async def _make(self, pages: AsyncIterator[list[Shown]]) -> Published:
        done, there = Published(), await self._tasks_by_item()
        async with Texts(self._settings.fetch) as texts:
            async for page in pages:
                fitting = [one for one in page if self._fits(one, done.left_out)]
                new = [one for one in fitting if one.name not in there]
                done.there += len(fitting) - len(new)
                await self._adopt([one for one in fitting if one.name in there], there)
                for start in range(0, len(new), _AT_A_TIME):
                    part = await self._readable(new[start : start + _AT_A_TIME], texts, done.left_out)
                    done.made += await self._import(part, done.left_out)
        return done

    async def _readable(self, part: Sequence[Shown], texts: Texts, left_out: Counter[str]) -> list[Shown]:
        """These, with their texts where the project shows texts and not what lies at an address."""

        async def opened(one: Shown) -> Labelled | None:
            is_text = not self._bound_to(one).binding.source.holds_address
            return await texts.opened(one.labelled, one.run) if is_text else one.labelled

        found = await asyncio.gather(*map(opened, part))
        if lost := found.count(None):
            left_out["texts that are not known any more"] += lost
        return [replace(one, labelled=own) for one, own in zip(part, found, strict=True) if own is not None]

    async def _import(self, part: Sequence[Shown], left_out: Counter[str]) -> int:
        if not part:
            return 0
        ids = await self._server.import_tasks(self._project.id, [self._task(one, left_out) for one in part])
        await self._adopt(part, await self._tasks_by_item(ids))
        return len(ids)

    async def _tasks_by_item(self, ids: Sequence[int] | None = None) -> dict[str, tuple[int, Mapping[str, Any]]]:
        """The tasks that show our items, by these: their ids and their data."""
        found = dict[str, tuple[int, Mapping[str, Any]]]()
        async for page in self._server.tasks(self._project.id, ids=ids):
            found |= {str(task.data[ITEM]): (task.id, task.data) for task in page if ITEM in task.data}
        return found

    def _fits(self, one: Shown, left_out: Counter[str]) -> bool:
        """Whether the project can show an item."""
        task = one.labelled.task
        if task not in self._bound:
            try:
                self._bound[task] = bound(self._settings, task, self._project.label_config)
            except UnservableError:
                self._bound[task] = None
        if self._bound[task] is None:
            left_out[f"items for {task}, which the project's labeling config does not fit"] += 1
            return False
        if one.labelled.item.uri is None and one.labelled.item.text is None:
            left_out["items that were sent as bytes, which have no address"] += 1
            return False
        return True

    def _task(self, one: Shown, left_out: Counter[str]) -> dict[str, Any]:
        found = self._bound_to(one)
        data = {found.binding.source.field or "": _content(one.labelled), ITEM: one.name, **one.facts}
        return {
            "data": data,
            "predictions": [prediction_of(found, one.labelled, version=one.version, left_out=left_out)],
        }

    def _bound_to(self, one: Shown) -> Bound:
        found = self._bound[one.labelled.task]
        if found is None:
            raise KeyError(one.labelled.task)
        return found

    async def _adopt(self, shown: Sequence[Shown], there: Mapping[str, tuple[int, Mapping[str, Any]]]) -> None:
        """Note which pre-labels these tasks show, so that answers find them."""
        adopted = list[Adopted]()
        for one in shown:
            if one.name in there:
                task_id, data = there[one.name]
                item = wanted({"id": task_id, "data": data}, self._bound_to(one), server_url=self._connection.url)
                if not isinstance(item, Refused):
                    adopted.append(_adopted(item.key, one))
        await self._deliveries.adopt(adopted, state="delivered")

    async def _onto_tasks(self, run: Run) -> Published:
        """Let the predictions of a run over an export be sent to the tasks that were exported."""
        done = Published()
        async for page in self._of_run(run):
            fitting = {int(one.labelled.item.id): one for one in page if self._fits_task(one, done.left_out)}
            adopted = list[Adopted]()
            async for tasks in self._server.tasks(self._project.id, ids=list(fitting)):
                for task in tasks:
                    one = fitting.pop(task.id)
                    item = wanted(
                        {"id": task.id, "data": task.data},
                        self._bound_to(one),
                        server_url=self._connection.url,
                    )
                    if isinstance(item, Refused) or not _is_same(item.item.text, one):
                        done.left_out["tasks whose data is another by now"] += 1
                    else:
                        adopted.append(_adopted(item.key, one))
            done.left_out["tasks that the project has no more"] += len(fitting)
            done.predicted += await self._deliveries.adopt(adopted, state="open")
        done.left_out = +done.left_out
        return done

    def _fits_task(self, one: Shown, left_out: Counter[str]) -> bool:
        if not one.labelled.item.id.isdecimal():
            left_out["items without the id of a task"] += 1
            return False
        return self._fits(one, left_out)


def _adopted(key: Key, one: Shown) -> Adopted:
    return Adopted(
        task_id=key[0],
        digest=key[1],
        version=one.version,
        task=one.labelled.task,
        run_id=one.run_id,
        item_id=one.labelled.item.id,
    )


def _is_same(text: str | None, one: Shown) -> bool:
    """Whether a task still has the text of the item; what lies behind an address is not looked at."""
    return text is None or one.labelled.item.text is None or text == one.labelled.item.text


def _version(labelled: Labelled, run: Run) -> str:
    """The version of a pre-label: of what its run was labelled with, or of what made it."""
    made_by = labelled.pre_label.provenance
    return version_of(
        labelled.task,
        run.fingerprint
        or {"chain": " ".join(made_by.chain), "policy": made_by.policy_id or "", "rules": made_by.rules_digest or ""},
    )


def _doubt(labelled: Labelled) -> float:
    return round(max(labelled.pre_label.uncertainty.values(), default=1.0), 6)


def _content(labelled: Labelled) -> str:
    """An item as a task's data holds it: its text, or where Label Studio finds it."""
    item = labelled.item
    if item.text is not None:
        return clean(item.text)
    uri = item.uri or ""
    path = local_path(uri)
    return clean(uri) if path is None else _LOCAL_FILES + quote(to_bytes(path.removeprefix("/")))
