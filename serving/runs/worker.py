"""Works on the runs that were posted to the service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

from models.errors import ConfigError, ModelError, PrelabelError
from models.types import Task
from pipelines.batch import Batch, FlowLabels
from pipelines.errors import ConflictError, StoreUnavailableError
from pipelines.prelabel import Flow
from pipelines.recent import Recent
from pipelines.sources.source import Source
from pipelines.store.drops import Drops
from pipelines.store.label_studio.connections import Connections
from pipelines.store.posted import PostedRuns
from pipelines.store.store import Store
from pipelines.store.values import Run
from serving.drops.fingerprint import fingerprint
from serving.drops.orders import changes
from serving.drops.pace import at_once_of_run
from serving.drops.pinning import pinned
from serving.integrations.label_studio.media import ConnectionMedia
from serving.process import this_process
from serving.runs.posted_drop import PostedDrop
from serving.runs.served_labels import Examination, ServedLabels
from serving.service import DeployedModels, in_force
from serving.settings import Settings

logger = logging.getLogger(__name__)

_LOOK_S = 1.0  # for runs that wait
_TELL_S = 1.0  # how far a run is


class RunWorker:
    """Takes runs out of the store, ``server.max_runs`` at a time, and labels them by the deployed models.

    It takes those that wait, and those that have lost their worker, wherever that was. Killed at any moment, or stopped
    with the service, it leaves its runs to whoever looks next. A run goes on only with the models, rules and
    policy that it began with, else it fails and says why; while its models do not answer, it waits.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        models: DeployedModels,
        store: Store,
        flow: Flow,
        media: ConnectionMedia,
        look_s: float = _LOOK_S,
    ) -> None:
        self._settings, self._models, self._flow, self._look_s = settings, models, flow, look_s
        self._media = media
        self._store, self._posted = store, PostedRuns(store)
        self._examination = Examination()
        self._working = set[str]()  # also what a database that was down does not know any more

    async def work(self) -> None:
        """Take runs until this is cancelled."""
        async with asyncio.TaskGroup() as places:
            for _ in range(self._settings.server.max_runs):
                places.create_task(self._keep_working())

    async def _keep_working(self) -> None:
        while True:
            has_worked = False
            with suppress(StoreUnavailableError):  # it is looked at again
                has_worked = await self.work_on_next()
            if not has_worked:
                await asyncio.sleep(self._look_s)

    async def work_on_next(self) -> bool:
        """Work on the oldest run that nobody works on; whether there was one.

        Raises:
            StoreUnavailableError: the store has not answered for too long; the run goes on when it does.
        """
        for run_id in await self._posted.to_work_on(await self._tasks()):
            if run_id in self._working:
                continue
            self._working.add(run_id)
            try:
                async with self._posted.take(run_id, worker=this_process()) as run:
                    if run is not None:
                        await self._work_on(run)
                        return True
            finally:
                self._working.discard(run_id)
        return False

    async def _tasks(self) -> list[Task]:
        """The tasks whose models have all said what they run."""
        models = {model for task in self._settings.tasks for model in self._settings.asked(task)}
        if not all(map(self._is_known, models)):
            await self._models.states()
        return [task for task in self._settings.tasks if all(map(self._is_known, self._settings.asked(task)))]

    def _is_known(self, model: str) -> bool:
        try:
            self._models.use_of(model)
        except ModelError:
            return False
        return True

    async def _work_on(self, run: Run) -> None:
        """Label what is pending of a run, and note how it ended."""
        try:
            async with self._begun(run) as batch, self._telling(run, batch):
                status = await batch.work()
            await self._posted.tell(run, batch.progress)
            await self._posted.finish(run, status=status)
        except ConflictError:
            logger.warning("run '%s' was taken over while this process could not reach the store", run.id)
        except StoreUnavailableError:
            raise
        except PrelabelError as err:
            await self._posted.finish(run, status="failed", reason=err.message)
        except Exception:
            logger.exception("run '%s' failed unexpectedly", run.id)
            reason = "the service failed on this run; its log says why"
            await self._posted.finish(run, status="failed", reason=reason)

    @asynccontextmanager
    async def _begun(self, run: Run) -> AsyncIterator[Batch]:
        """The batch of a run, once it is sure that it goes on with what it began with.

        Raises:
            ConfigError: it does not, or its drop cannot be opened.
        """
        drop = PostedDrop.of(run)
        if drop is None:
            raise ConfigError(f"run '{run.id}' does not say which drop it is over")
        source = None if run.is_listed else await asyncio.to_thread(drop.open, self._settings)
        pin = await pinned(self._store, run, drop.task, self._settings.policies[drop.task])
        await self._check(run, drop, source, policy_id=pin.policy_id)
        async with in_force(self._settings, self._store, {drop.task: pin}).looking() as force:
            flow = replace(await self._flow_of(drop), policies=force.policies, calibrations=force.calibrations)
            labels = FlowLabels(
                flow,
                at_once=at_once_of_run(self._settings, drop.task),
                recent=Recent(partial(Drops(self._store).known, run.id)),
                come_back=True,
            )
            yield Batch(
                run.id,
                drop.task,
                source=source,
                store=self._store,
                labels=ServedLabels(labels, self._examination),
                attempt=run.attempt,
                patience_s=self._settings.store.patience_s,
            )

    async def _flow_of(self, drop: PostedDrop) -> Flow:
        """What labels a drop; the token of a connected project is for its own items alone."""
        if drop.connection_id is None:
            return self._flow
        connection = await Connections(self._store).get(drop.connection_id)
        return replace(self._flow, fetcher=self._media.of(connection))

    async def _check(self, run: Run, drop: PostedDrop, source: Source | None, *, policy_id: str) -> None:
        found: Mapping[str, str] = {} if source is None else await asyncio.to_thread(source.identity)
        described = drop.as_source() | dict(found)
        labels_with = fingerprint(self._settings, self._models, drop.task, policy_id=policy_id)
        if run.fingerprint is None:
            await self._posted.describe(run, source=described, fingerprint=labels_with)
        elif changed := changes(run, source=described, fingerprint=labels_with):
            raise ConfigError(
                f"the run cannot go on: {', '.join(changed)} changed since it began; post the drop again, "
                "which begins a new run"
            )

    @asynccontextmanager
    async def _telling(self, run: Run, batch: Batch) -> AsyncIterator[None]:
        """Tell how far the batch is, as long as the context lasts."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(_TELL_S)
                with suppress(StoreUnavailableError):
                    await self._posted.tell(run, batch.progress)

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait([telling])
