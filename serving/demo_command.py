"""Gives the command line its demo: the main job on the sample drop, in a store that goes when it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from models.types import Task
from pipelines.formats import folder, run_manifest
from pipelines.formats.summary import TaskSummary
from pipelines.progress import Progress
from pipelines.store.values import TaskCounts
from serving import demo as sample
from serving import settings as configuration
from serving.drops.annotate import Finished, annotate, opened_store
from serving.drops.export import export
from serving.drops.orders import Order
from serving.drops.output import rated
from serving.settings import Settings, with_changes
from serving.terminal import AsJson, notes, print_json, print_summary, service

_BATCH_TASK: Task = "speech"  # the quickest to load, as CTranslate2 does without torch
_BATCH_FORMAT = "webvtt"


def demo(
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("demo-out"), as_json: AsJson = False
) -> None:
    """Label the sample drop through the real service, its recordings as a batch job, too, and write reports."""
    items = sample.sample_items()
    with demo_settings() as settings, service(settings) as address, _bars() as bars:
        bar_of = {task: bars.add_task(task, total=len(of_task)) for task, of_task in items.items()}
        batch_bar = bars.add_task("as a drop", total=len(items[_BATCH_TASK]))
        results, seconds = asyncio.run(
            sample.label(address, items, on_done=lambda task, n: bars.advance(bar_of[task], n))
        )
        queues = sample.queues(address)
        batch = asyncio.run(
            label_folder(settings, out / "drop", on_progress=lambda now: bars.update(batch_bar, completed=now.finished))
        )
    every_item = [item for of_task in items.values() for item in of_task]
    summary = folder.write(
        results,
        every_item,
        out,
        title="prelabel demo",
        seconds=seconds,
        media=settings.media,
        standards=settings.standards,
    )
    if as_json:
        print_json({"tasks": [asdict(line) for line in summary], "drop": asdict(_summary(batch))})
        return
    print_summary(summary, as_json=False)
    waiting = ", ".join(f"{queue['name']} [bold]{queue['pending']}[/]" for queue in queues)
    notes.print(f"waiting in the review queues: {waiting}", highlight=False)
    _print_files(out, "report.html", "results.jsonl", "coco.json")
    notes.print("\nThe recordings once more, as a batch job without the service:")
    command = f"prelabel annotate {_near(batch.order.drop)} --task {_BATCH_TASK} --out {batch.order.out}"
    notes.print(f"[bold]{command}[/]", highlight=False, soft_wrap=True)
    print_summary([_summary(batch)], as_json=False)
    shards = [file.name for file in batch.manifest.files]
    _print_files(batch.order.out, "report.html", *shards, run_manifest.FILE, _BATCH_FORMAT)


async def label_folder(settings: Settings, out: Path, *, on_progress: Callable[[Progress], None]) -> Finished:
    """Label the recordings as ``prelabel annotate`` does, in this process, and export them as subtitles."""
    (out / run_manifest.FILE).unlink(missing_ok=True)  # of a demo that was ended: its store is gone, and cannot go on
    order = Order(drop=str(sample.DROP / _BATCH_TASK), task=_BATCH_TASK, out=out)
    finished = await annotate(settings, order, on_progress=on_progress)
    async with opened_store(settings) as store:
        await export(settings, store, finished.manifest.run, format_name=_BATCH_FORMAT, out=out / _BATCH_FORMAT)
    return finished


def _summary(batch: Finished) -> TaskSummary:
    counts = batch.manifest.counts or TaskCounts(task=batch.order.task)
    return rated(counts, batch.progress)


@contextmanager
def demo_settings() -> Iterator[Settings]:
    """The preset on a free port, open to this machine, with a store that goes when the demo ends.

    Nothing of an installation's environment may send the sample drop into its real store.
    """
    with tempfile.TemporaryDirectory(prefix="prelabel-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # started by root, PostgreSQL runs as another user and must get through
        settings = with_changes(configuration.load("demo"), "store", url=None, folder=Path(folder) / "store")
        yield with_changes(settings, "server", host="127.0.0.1", port=_free_port(), api_keys=(), max_runs=0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _bars() -> Bars:
    columns = (TextColumn("{task.description:<13}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Bars(*columns, console=notes)


def _near(path: str) -> str:
    """A path as somebody in the working folder would type it."""
    near = os.path.relpath(path)
    return path if near.startswith("..") else near


def _print_files(folder: Path, page: str, *others: str) -> None:
    notes.print(f"look at [bold]{folder / page}[/]", highlight=False, soft_wrap=True)
    found = [str(folder / name) for name in others if (folder / name).exists()]
    notes.print(f"beside it: {', '.join(found)}", highlight=False, soft_wrap=True)
