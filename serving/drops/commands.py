"""Gives the command line its commands for drops: annotate one, and look after the runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from models.errors import ConfigError
from pipelines.batch import Batch
from pipelines.formats.exported import LeftOut
from pipelines.formats.registry import FORMATS
from pipelines.formats.summary import summary_of
from pipelines.remarks import Remarks, sentences
from pipelines.store.drops import Drops
from pipelines.store.listing import Listing
from pipelines.store.posted import PostedRuns
from pipelines.store.store import Store
from pipelines.store.values import ErrorCount, Run, StoredFailure, TaskCounts
from pipelines.types import ROUTES, Route
from serving import settings as configuration
from serving.drops import annotate as annotating
from serving.drops.annotate import Finished
from serving.drops.orders import Order
from serving.drops.output import rated
from serving.drops.progress_display import Show, duration, event, figures, shown
from serving.drops.staff import LOCAL, Staffing
from serving.settings import Settings
from serving.terminal import AsJson, Config, notes, print_json, print_rows, print_summary, screen, task_named

SOME_FAILED, INTERRUPTED = 3, 130  # exit statuses; 0 when all is done, 1 (main's) for what ends a command

runs_app = typer.Typer(no_args_is_help=True, help="Runs over drops: how they came out, and what of them failed.")

T = TypeVar("T")
Workers = Annotated[
    str | None,
    typer.Option(help="Processes that label: a number, or auto for what the cluster holds.", show_default=False),
]
Cluster = Annotated[
    str | None, typer.Option(help="A Ray cluster's address for the workers; else they run here.", show_default=False)
]
RunId = Annotated[str, typer.Argument(help="The run's id, as 'prelabel runs list' shows it.", show_default=False)]


def annotate(
    drop: Annotated[
        str | None,
        typer.Argument(help="A folder, pattern, manifest, bucket, archive or export.", show_default=False),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="detection, segmentation, ner or speech.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for the results.", show_default=False)] = None,
    resume: Annotated[
        str | None,
        typer.Option(help="Go on with a run: its id, or auto for what --out holds, if anything.", show_default=False),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="What the drop is, where its name does not say so.", show_default=False)
    ] = None,
    root: Annotated[
        list[Path] | None, typer.Option(help="A further folder that a manifest's files may lie in.")
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Label a sample of 32 and say what the drop would come to.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Label every item of a drop; write results, a report, and the review queue.

    That is done in this process, or by --workers on this machine or on a --cluster; one is as large as the models'
    cards say (num_cpus, num_gpus), with a whole GPU where they say nothing of it.
    Killed at any moment, it goes on with --resume: nothing is lost and nothing stored twice. Ctrl-C once ends it after
    the batches in flight, twice at once. The exit status is 0 when every item has a pre-label, 3 when some failed, 130
    when it was stopped.
    """
    order = _order(drop, task, out, kind, root or [])
    if is_dry:
        if (workers, cluster, resume) != (None, None, None):
            raise ConfigError("a dry run measures this process; leave out --workers, --cluster and --resume")
        _tell_estimate(configuration.load(config), order, as_json=as_json)
        return
    staffing = _staffing(workers, cluster)
    finished = _annotated(configuration.load(config), order, resume, staffing, as_json=as_json)
    status = finished.manifest.status
    if as_json:
        remarks = asdict(finished.manifest.remarks)
        facts = figures(finished.progress) | remarks | {"workers": finished.workers}
        event(screen, "finished", **facts, run=finished.manifest.run, status=status)
    else:
        _tell(finished)
    if status != "done":
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(SOME_FAILED if finished.progress.failed else 0)


def export(
    run_id: RunId,
    format_name: Annotated[str, typer.Option("--format", help=f"One of: {', '.join(FORMATS)}.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder for the files.", show_default=False)],
    route: Annotated[
        list[str] | None,
        typer.Option(help="Only accept, audit, review or scratch; may be repeated."),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's pre-labels in the format of another tool, and say what that could not hold."""
    from serving.drops.export import export as write

    settings = configuration.load(config)
    routes: list[Route] = [_route(name) for name in route or ()]

    async def exported(store: Store) -> LeftOut:
        return await write(settings, store, run_id, format_name=format_name, out=out, routes=routes)

    left_out = with_store(config, exported)
    if as_json:
        print_json({"run": run_id, "format": format_name, "out": str(out), "left_out": left_out})
        return
    for what, count in sorted(left_out.items()):
        notes.print(f"[yellow]left out[/] {count} {what}")
    notes.print(f"written to [bold]{out}[/]", soft_wrap=True)


def _route(name: str) -> Route:
    for route in ROUTES:
        if route == name:
            return route
    raise ConfigError(f"unknown decision '{name}'; choose one of: {', '.join(ROUTES)}")


@runs_app.command("list")
def list_runs(config: Config = None, as_json: AsJson = False) -> None:
    """List the newest runs."""

    async def read(store: Store) -> list[Run]:
        return await Drops(store).runs()

    runs = with_store(config, read)
    if as_json:
        print_json([asdict(run) for run in runs])
        return
    names = ("id", "name", "task", "status", "attempt")
    print_rows(
        [
            {name: getattr(run, name) for name in names}
            | {"begun": f"{run.created_at:%Y-%m-%d %H:%M}", "by": "service" if run.is_posted else "command line"}
            for run in runs
        ]
    )


@runs_app.command("show")
def show_run(run_id: RunId, config: Config = None, as_json: AsJson = False) -> None:
    """Show how a run came out so far."""

    async def read(store: Store) -> tuple[Run, list[TaskCounts], list[ErrorCount], Remarks, int]:
        run, counts, drops = await store.run(run_id), await store.counts(run_id), Drops(store)
        errors, remarks = await drops.error_counts(run_id), await drops.remarks(run_id)
        return run, counts, errors, remarks, await Listing(store).count(run_id)

    run, counts, errors, remarks, listed = with_store(config, read)
    facts = asdict(run) | {"listed": listed}
    if as_json:
        came_out = {"counts": [asdict(c) for c in counts], "errors": [asdict(error) for error in errors]}
        print_json(facts | came_out | asdict(remarks))
        return
    names = ["id", "name", "task", "status", "listed", "attempt", "worker", "created_at", "finished_at"]
    for name in names + (["reason"] if run.reason else []):
        screen.print(f"[bold]{name:<12}[/] {facts[name]}", highlight=False, soft_wrap=True)
    print_summary([summary_of(count, seconds=None) for count in counts], as_json=False)
    print_rows([asdict(error) for error in errors] or [{"errors": "none"}])
    print_rows([asdict(count) for count in remarks.findings] or [{"findings of the sanity rules": "none"}])
    if remarks.unmapped:
        print_rows(
            [
                {"unmapped label": one.label, "annotations": one.annotations, "items": one.items}
                for one in remarks.unmapped
            ]
        )


@runs_app.command("errors")
def list_errors(
    run_id: RunId,
    code: Annotated[str | None, typer.Option(help="Only this code.", show_default=False)] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the items of a run that failed: id, code, attempts, and why."""

    async def read(store: Store) -> list[StoredFailure]:
        await store.run(run_id)  # or say that there is none
        return [failure async for failure in _errors(store, run_id, code)]

    errors = with_store(config, read)
    if as_json:
        print_json([asdict(error) for error in errors])
        return
    print_rows(
        [
            {
                "item": error.item_id,
                "code": error.failure.code,
                "attempts": error.failure.attempts,
                "why": error.failure.message,
            }
            for error in errors
        ]
    )


@runs_app.command("redrive")
def redrive(
    run_id: RunId,
    code: Annotated[list[str], typer.Option(help="Items that failed with this code; may be repeated.")],
    workers: Workers = None,
    cluster: Cluster = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Try the items of a run again that failed with a code, and go on with the run, here or by workers.

    A run that was posted waits for its service.
    """

    async def drive(store: Store) -> tuple[Run, int]:
        run = await store.run(run_id)
        drives = PostedRuns(store) if run.is_posted else Drops(store)
        return run, await drives.redrive(run_id, codes=code)

    run, again = with_store(config, drive)
    notes.print(f"{again} items of run {run_id} are tried again{' by its service' if run.is_posted else ''}")
    if again and not run.is_posted:
        annotate(resume=run_id, workers=workers, cluster=cluster, config=config, as_json=as_json)


@runs_app.command("stop")
def stop(run_id: RunId, config: Config = None) -> None:
    """End a run after the batches in flight; what is done is kept, and it can be resumed."""

    async def ask(store: Store) -> Run:
        await Drops(store).stop(run_id)
        return await store.run(run_id)

    run = with_store(config, ask)
    ends = f"is {run.status}" if run.is_over else "ends after the batches in flight, if anybody works on it"
    notes.print(f"run {run_id} {ends}")


def _order(drop: str | None, task: str | None, out: Path | None, kind: str | None, roots: list[Path]) -> Order | None:
    """What was ordered; None where only a run is named."""
    if drop is None and task is None and out is None:
        return None
    if drop is None or task is None or out is None:
        raise ConfigError("a drop is labelled for a task into a folder; give all of DROP, --task and --out")
    return Order(drop=drop, task=task_named(task), out=out, kind=kind, roots=tuple(roots))


def _staffing(workers: str | None, cluster: str | None) -> Staffing | None:
    """The workers that were asked for; None for this process alone."""
    if workers is None and cluster is None:
        return None
    if workers in (None, "auto"):
        return Staffing(cluster=cluster or LOCAL)
    if not workers.isdecimal() or int(workers) < 1:
        raise ConfigError(f"--workers takes a number from 1, or auto; got '{workers}'")
    return Staffing(workers=int(workers), cluster=cluster or LOCAL)


def _annotated(
    settings: Settings, order: Order | None, resume: str | None, staffing: Staffing | None, *, as_json: bool
) -> Finished:
    """Label the drop, and show how far it is."""
    with ExitStack() as display:
        show: list[Show] = []

        def begin(order: Order, run_id: str, batch: Batch) -> None:
            _stop_on_interrupt(batch)
            if as_json:
                event(screen, "started", run=run_id, task=order.task, drop=order.drop, out=str(order.out))
            else:
                notes.print(f"run [bold]{run_id}[/]; Ctrl-C ends it cleanly, --resume {run_id} goes on with it")
            show.append(display.enter_context(shown(order.task, notes=notes, events=screen if as_json else None)))

        def write(order: Order) -> None:
            display.close()  # the bar, which has ended
            if as_json:
                event(screen, "writing", out=str(order.out))
            else:
                display.enter_context(notes.status(f"writing {order.out} …"))

        try:
            return asyncio.run(
                annotating.annotate(
                    settings,
                    order,
                    resume=resume,
                    staffing=staffing,
                    on_start=begin,
                    on_progress=lambda now: show[0](now),
                    on_writing=write,
                )
            )
        except asyncio.CancelledError as err:
            raise typer.Exit(INTERRUPTED) from err


def _tell(finished: Finished) -> None:
    """Say to a person what came out, and where."""
    manifest, out = finished.manifest, finished.order.out
    if manifest.counts is not None:
        print_summary([rated(manifest.counts, finished.progress)], as_json=False)
    if manifest.errors:
        _tell_errors(manifest.run, manifest.errors)
    for said in sentences(manifest.remarks):
        notes.print(said, soft_wrap=True, highlight=False, markup=False)
    if manifest.status != "done":
        notes.print(f"run {manifest.run} was {manifest.status}; go on with it by --resume {manifest.run}")
    notes.print(f"look at [bold]{out / 'report.html'}[/]", highlight=False, soft_wrap=True)


def _tell_errors(run_id: str, errors: Sequence[ErrorCount]) -> None:
    """The codes, the most frequent first, and what to do about them."""
    width = max(len(f"{error.items:,}") for error in errors)
    for error in sorted(errors, key=lambda error: (-error.items, error.code)):
        notes.print(f"[red]{error.items:{width},}[/] failed with [bold]{error.code}[/]", highlight=False)
    notes.print(f"why: 'prelabel runs errors {run_id}'", highlight=False, soft_wrap=True)
    notes.print(f"try again: 'prelabel runs redrive {run_id} --code CODE'", highlight=False, soft_wrap=True)


def _tell_estimate(settings: Settings, order: Order | None, *, as_json: bool) -> None:
    """Say what the order would come to."""
    if order is None:
        raise ConfigError("a dry run needs a drop; give DROP, --task and --out")
    with notes.status("listing the drop, and labelling a sample …"):
        found = asyncio.run(annotating.dry_run(settings, order))
    if as_json:
        print_json(asdict(found) | {"seconds": found.seconds})
        return
    bad = f", and {found.bad_entries:,} bad entries" if found.bad_entries else ""
    screen.print(f"{found.items:,} items for {order.task}{bad}", highlight=False)
    if found.seconds is not None:
        rate = f"{found.items_per_s:.1f} items/s"
        screen.print(f"about {duration(found.seconds)} at {rate}, measured on {found.sampled} items", highlight=False)
    failed = "".join(f", {count} failed ({code})" for code, count in sorted(found.failed.items()))
    screen.print(f"of these: {found.accepted} accepted, {found.review} for review{failed}", highlight=False)
    for said in sentences(Remarks(findings=found.findings, unmapped=found.unmapped)):
        screen.print(said, soft_wrap=True, highlight=False, markup=False)


def _stop_on_interrupt(batch: Batch) -> None:
    """Let the first Ctrl-C end the batch cleanly, and the second end it now."""
    loop, working = asyncio.get_running_loop(), asyncio.current_task()

    def interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        loop.add_signal_handler(signal.SIGINT, lambda: working and working.cancel())
        notes.print("ending after the batches in flight; Ctrl-C again ends now")
        batch.stop()

    loop.add_signal_handler(signal.SIGINT, interrupt)


async def _errors(store: Store, run_id: str, code: str | None) -> AsyncIterator[StoredFailure]:
    """The failures of a run, page by page."""
    after = ""
    while page := await Drops(store).errors(run_id, code=code, after=after):
        for failure in page:
            yield failure
        after = page[-1].item_id


def with_store(config: str | None, ask: Callable[[Store], Awaitable[T]]) -> T:
    """What is asked of the configuration's store."""

    async def opened() -> T:
        async with annotating.opened_store(configuration.load(config)) as store:
            return await ask(store)

    return asyncio.run(opened())
