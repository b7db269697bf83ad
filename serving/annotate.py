"""Labels a drop in this process, without a service: the same flow over local engines, into the store and a folder."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from models.types import Task
from pipelines.batch import Batch, FlowLabels
from pipelines.errors import ConflictError, StoreUnavailableError
from pipelines.estimate import Estimate, estimate
from pipelines.formats import run_manifest
from pipelines.formats.run_manifest import RunManifest
from pipelines.local import LocalModels
from pipelines.progress import Progress
from pipelines.recent import Recent
from pipelines.sources import open_source
from pipelines.sources.source import Source
from pipelines.store.drops import Drops
from pipelines.store.embedded import revive
from pipelines.store.store import Store
from pipelines.store.values import Run
from pipelines.types import PreLabel
from serving import orders
from serving.orders import Order
from serving.output import write_output
from serving.profiles import profiled
from serving.service import flow_over, store_url
from serving.settings import Settings

_FEWEST_AT_ONCE = 32
_PASSES_AT_ONCE = 3  # one that runs, one that is prepared, one that is read and stored
_BULK_SHARE = 0.75  # of a model's queue (models/engine.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an attempt at a run ended."""

    order: Order
    manifest: RunManifest
    progress: Progress


OnStart = Callable[[Order, str, Batch], None]
OnProgress = Callable[[Progress], None]


async def annotate(
    settings: Settings,
    order: Order | None,
    *,
    resume: str | None = None,
    on_start: OnStart = lambda order, run_id, batch: None,
    on_progress: OnProgress = lambda progress: None,
) -> Finished:
    """Label a drop, or go on with a run.

    Args:
        order: what is to be labelled; None to go on with the run that ``resume`` names.
        resume: a run's id; "auto" for the run that the order's folder holds, or a new one where it holds none.
        on_start: is told the order, the run's id, and the batch, which it may stop.

    Raises:
        ConfigError: the drop or the run cannot be used, or the folder holds a run that is not finished.
        ConflictError: somebody else works on the run.
        StoreUnavailableError: the store has not answered for too long; the run can be resumed.
    """
    async with opened_store(settings) as store:
        order, run = await orders.find(store, order, resume)
        settings = _opened_for(settings, order)
        source = open_source(order.drop, order.task, policy=settings.fetch, kind=order.kind)
        async with _loaded(settings, order.task) as models:
            run = await _begun(store, run, order, source, _fingerprint(settings, models, order.task))
            async with Drops(store).hold(run.id, worker=_this_process()) as attempt:
                manifest = _manifest(await store.run(run.id), order.task)
                order.out.mkdir(parents=True, exist_ok=True)
                run_manifest.write(manifest, order.out)
                async with flow_over(settings, models, store) as flow:
                    recent = Recent(partial(Drops(store).known, run.id))
                    batch = Batch(
                        run.id,
                        order.task,
                        source=source,
                        store=store,
                        labels=FlowLabels(flow, at_once=_at_once(settings, order.task), recent=recent),
                        attempt=attempt,
                        on_progress=on_progress,
                        patience_s=settings.store.patience_s,
                        revive=None if settings.store.url else partial(revive, settings.store.folder),
                    )
                    on_start(order, run.id, batch)
                    await _work(batch, store, run.id)
                    manifest = await write_output(
                        manifest, store, order, settings, flow.fetcher, seconds=batch.progress.elapsed_s
                    )
                return Finished(order=order, manifest=manifest, progress=batch.progress)


async def dry_run(settings: Settings, order: Order) -> Estimate:
    """What the order would come to; nothing is stored or written."""
    async with opened_store(settings) as store:
        settings = _opened_for(settings, order)
        source = open_source(order.drop, order.task, policy=settings.fetch, kind=order.kind)
        async with _loaded(settings, order.task) as models, flow_over(settings, models, store) as flow:
            labels = FlowLabels(flow, at_once=_at_once(settings, order.task), recent=Recent(_nothing_stored))
            return await estimate(source, order.task, labels)


async def _nothing_stored(digests: Collection[str]) -> Mapping[str, PreLabel]:
    return {}


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The settings' store; an embedded one runs as long as the context."""
    with store_url(settings) as url:
        async with Store.open(url) as store:
            yield store


def _opened_for(settings: Settings, order: Order) -> Settings:
    """The settings as they are run, with the order's folders open to the fetcher."""
    return profiled(settings).model_copy(update={"fetch": order.opened(settings.fetch)})


@asynccontextmanager
async def _loaded(settings: Settings, task: Task) -> AsyncIterator[LocalModels]:
    models = LocalModels(settings.cards, settings.lock_file, settings.media)
    try:
        for model in settings.tasks[task]:
            models.use_of(model)  # loads it
        yield models
    finally:
        await models.close()


async def _begun(store: Store, run: Run | None, order: Order, source: Source, fingerprint: dict[str, str]) -> Run:
    """The run to go on with, or a new one."""
    described = order.as_source() | source.identity()
    if run is not None:
        orders.check_unchanged(run, source=described, fingerprint=fingerprint)
        return run
    run_id = uuid.uuid4().hex[:12]
    await Drops(store).begin(run_id, name=source.name, task=order.task, source=described, fingerprint=fingerprint)
    return await store.run(run_id)


def _fingerprint(settings: Settings, models: LocalModels, task: Task) -> dict[str, str]:
    """What labels the items, down to the digests."""
    uses = [models.use_of(model) for model in settings.tasks[task]]
    of_models = {f"{use.name}@{use.version}": f"{use.weights_digest}:{use.config_digest}" for use in uses}
    return of_models | {"policy": settings.policies[task].id}


def _manifest(run: Run, task: Task) -> RunManifest:
    """What is known of a run before it is finished."""
    fingerprint = dict(run.fingerprint or {})
    return RunManifest(
        run=run.id,
        status=run.status,
        task=task,
        source=run.source or {},
        policy=fingerprint.pop("policy", None),
        models=fingerprint,
        code_version=version("prelabel"),
        created_at=run.created_at,
        attempts=run.attempt,
    )


async def _work(batch: Batch, store: Store, run_id: str) -> None:
    """Label what is pending, and note how the run ended."""
    try:
        status = await batch.work()
    except ConflictError:
        raise  # the run is somebody else's
    except asyncio.CancelledError:
        await asyncio.shield(store.finish_run(run_id, status="stopped"))
        raise
    except Exception:
        with suppress(StoreUnavailableError):  # which may be why the run has failed
            await store.finish_run(run_id, status="failed")
        raise
    await store.finish_run(run_id, status=status)


def _at_once(settings: Settings, task: Task) -> int:
    """So many items that no model waits for the store, and so few that no queue is ever full."""
    limits = [settings.cards[model].limits for model in settings.tasks[task]]
    wanted = max(_FEWEST_AT_ONCE, *(_PASSES_AT_ONCE * limit.max_items for limit in limits))
    return max(1, min(wanted, *(int(_BULK_SHARE * limit.max_queue) for limit in limits)))


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
