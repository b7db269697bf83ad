"""Labels a drop without a service, in this process or on a cluster's workers, into the store and a folder."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from models.types import Task
from pipelines.batch import Batch, FlowLabels, Labels
from pipelines.errors import ConflictError, StoreUnavailableError
from pipelines.estimate import Estimate, estimate
from pipelines.fetch import Fetcher
from pipelines.formats import run_manifest
from pipelines.formats.run_manifest import RunManifest
from pipelines.prelabel import Fetches
from pipelines.progress import Progress
from pipelines.recent import Recent
from pipelines.sources import open_source
from pipelines.sources.source import Source
from pipelines.store.drops import Drops
from pipelines.store.embedded import revive
from pipelines.store.store import Store
from pipelines.store.values import Run
from pipelines.types import PreLabel
from serving.drops import orders
from serving.drops.fingerprint import EXTRAS, ONTOLOGY, POLICY, RULES, fingerprint
from serving.drops.labeller import Job
from serving.drops.loading import LoadingModels, loading
from serving.drops.orders import Order
from serving.drops.output import write_output
from serving.drops.pace import at_once
from serving.drops.pinning import pinned
from serving.drops.staff import Staffing, needed, staffed
from serving.process import this_process
from serving.profiles import profiled
from serving.service import flow_over, store_url
from serving.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an attempt at a run ended; ``workers`` is how many labelled it at the same time, 0 for this process alone."""

    order: Order
    manifest: RunManifest
    progress: Progress
    workers: int


OnStart = Callable[[Order, str, Batch], None]
OnProgress = Callable[[Progress], None]
OnWriting = Callable[[Order], None]


async def annotate(
    settings: Settings,
    order: Order | None,
    *,
    resume: str | None = None,
    staffing: Staffing | None = None,
    on_start: OnStart = lambda order, run_id, batch: None,
    on_progress: OnProgress = lambda progress: None,
    on_writing: OnWriting = lambda order: None,
) -> Finished:
    """Label a drop, or go on with a run.

    Args:
        order: what is to be labelled; None to go on with the run that ``resume`` names.
        resume: a run's id; "auto" for the run that the order's folder holds, or a new one where it holds none.
        staffing: the workers on a cluster that label; None to label in this process.
        on_start: is told the order, the run's id, and the batch, which it may stop.
        on_writing: is told when the labelling has ended and the order's folder is written, which takes its time.

    Raises:
        ConfigError: the drop or the run cannot be used, or the folder holds a run that is not finished.
        ConflictError: somebody else works on the run.
        StoreUnavailableError: the store has not answered for too long; the run can be resumed.
    """
    settings = profiled(settings)
    known = order if staffing is None and resume in (None, orders.AUTO) else None
    async with _loading(settings, known) as models, _opened(settings) as (url, store):
        order, run = await orders.find(store, order, resume)
        settings = _opened_for(settings, order)
        source = open_source(order.drop, order.task, policy=settings.fetch, kind=order.kind)
        run_id = run.id if run is not None else uuid.uuid4().hex[:12]
        pin = await pinned(store, run, order.task, settings.policies[order.task])
        job = Job(settings=settings, task=order.task, run_id=run_id, store_url=url, pinned=pin)
        async with _labelling(job, store, await needed(staffing, store, run, source), models) as labelling:
            run = await _begun(store, run, run_id, order, source, labelling.fingerprint)
            async with Drops(store).hold(run.id, worker=this_process()) as attempt:
                manifest = _manifest(await store.run(run.id), order.task)
                order.out.mkdir(parents=True, exist_ok=True)
                run_manifest.write(manifest, order.out)
                batch = Batch(
                    run.id,
                    order.task,
                    source=source,
                    store=store,
                    labels=labelling.labels,
                    attempt=attempt,
                    on_progress=on_progress,
                    patience_s=settings.store.patience_s,
                    revive=None if settings.store.url else partial(revive, settings.store.folder),
                )
                on_start(order, run.id, batch)
                await _work(batch, store, run.id)
                on_writing(order)
                manifest = await write_output(
                    manifest, store, order, settings, labelling.fetcher, progress=batch.progress
                )
            return Finished(order=order, manifest=manifest, progress=batch.progress, workers=labelling.most_workers())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelling:
    """What labels a run's items, and its digests."""

    labels: Labels
    fingerprint: Mapping[str, str]
    fetcher: Fetches
    most_workers: Callable[[], int] = lambda: 0


@asynccontextmanager
async def _labelling(
    job: Job, store: Store, staffing: Staffing | None, models: LoadingModels | None
) -> AsyncIterator[_Labelling]:
    """What labels in this process, by models that are being loaded already or will be, or on a cluster."""
    settings, task = job.settings, job.task
    if staffing is not None:
        async with Fetcher(settings.fetch) as fetcher, staffed(settings, staffing, job) as pool:
            labels_with = await pool.start()
            yield _Labelling(
                labels=pool, fingerprint=labels_with, fetcher=fetcher, most_workers=lambda: pool.most_workers
            )
        return
    async with loading(settings, task) if models is None else nullcontext(models) as models:
        loaded = await models()
        async with flow_over(settings, loaded, store, pinned={task: job.pinned}) as flow:
            recent = Recent(partial(Drops(store).known, job.run_id))
            labels = FlowLabels(flow, at_once=at_once(settings, task), recent=recent)
            digests = fingerprint(settings, loaded, task, policy_id=job.pinned.policy_id)
            yield _Labelling(labels=labels, fingerprint=digests, fetcher=flow.fetcher)


@asynccontextmanager
async def _loading(settings: Settings, order: Order | None) -> AsyncIterator[LoadingModels | None]:
    """An order's models, which load while the store starts; None where it is not known yet what to load."""
    if order is None:
        yield None
        return
    settings = _opened_for(settings, order)
    open_source(order.drop, order.task, policy=settings.fetch, kind=order.kind)  # or say now that it cannot be
    async with loading(settings, order.task) as models:
        yield models


async def dry_run(settings: Settings, order: Order) -> Estimate:
    """What the order would come to; nothing is stored or written."""
    settings = profiled(settings)
    async with opened_store(settings) as store:
        settings = _opened_for(settings, order)
        source = open_source(order.drop, order.task, policy=settings.fetch, kind=order.kind)
        async with loading(settings, order.task) as models, flow_over(settings, await models(), store) as flow:
            labels = FlowLabels(flow, at_once=at_once(settings, order.task), recent=Recent(_nothing_stored))
            return await estimate(source, order.task, labels)


async def _nothing_stored(digests: Collection[str]) -> Mapping[str, PreLabel]:
    return {}


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The settings' store; an embedded one runs as long as the context."""
    async with _opened(settings) as (_, store):
        yield store


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[str, Store]]:
    """The store and its URL."""
    with store_url(settings) as url:
        async with Store.open(url) as store:
            yield url, store


def _opened_for(settings: Settings, order: Order) -> Settings:
    """The settings with the order's folders open to the fetcher."""
    return settings.model_copy(update={"fetch": order.opened(settings.fetch)})


async def _begun(
    store: Store, run: Run | None, run_id: str, order: Order, source: Source, fingerprint: Mapping[str, str]
) -> Run:
    """The run to go on with, or a new one."""
    described = order.as_source() | source.identity()
    if run is not None:
        orders.check_unchanged(run, source=described, fingerprint=fingerprint)
        return run
    await Drops(store).begin(run_id, name=source.name, task=order.task, source=described, fingerprint=fingerprint)
    return await store.run(run_id)


def _manifest(run: Run, task: Task) -> RunManifest:
    """What is known of a run before it is finished."""
    fingerprint = dict(run.fingerprint or {})
    fingerprint.pop(EXTRAS, None)
    return RunManifest(
        run=run.id,
        status=run.status,
        task=task,
        source=run.source or {},
        policy=fingerprint.pop(POLICY, None),
        rules_digest=fingerprint.pop(RULES, None),
        ontology_digest=fingerprint.pop(ONTOLOGY, None),
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
