"""Holds what all commands share: where they print, their common options, and their tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.errors import ConfigError
from models.types import MEDIA_OF_TASK, Task
from pipelines.formats.summary import TaskSummary
from serving.settings import Settings

_WIDEST_NAME = 40

screen = Console()
notes = Console(stderr=True)

Config = Annotated[
    str | None,
    typer.Option("--config", "-c", help="A configuration file or a preset (demo, gpu); else prelabel.yaml, else demo."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def task_named(name: str) -> Task:
    """The task of this name.

    Raises:
        ConfigError: there is none.
    """
    for task in MEDIA_OF_TASK:
        if task == name:
            return task
    raise ConfigError(f"unknown task '{name}'; choose one of: {', '.join(MEDIA_OF_TASK)}")


@contextmanager
def service(settings: Settings) -> Iterator[str]:
    """The address of the service, which runs as long as the context; a person sees that it starts."""
    from serving.cluster import running

    with notes.status("starting PostgreSQL, Ray Serve and the models …") as status, running(settings) as address:
        status.stop()
        yield address


def print_json(value: object) -> None:
    screen.print_json(json.dumps(value, default=str))


def print_summary(summary: Sequence[TaskSummary], *, as_json: bool) -> None:
    """What became of the items, task by task."""
    if as_json:
        print_json({"tasks": [asdict(line) for line in summary]})
        return
    names = ("task", "items", "labels", "nothing\nfound", "failed", "accepted", "to\nreview", "items/s")
    table = Table(*names, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in table.columns[1:]:
        column.justify = "right"
    for line in summary:
        numbers = (line.items, line.labels, line.nothing_found, line.failed, line.accepted, line.review)
        rate = "" if line.items_per_s is None else f"{line.items_per_s:.1f}"
        table.add_row(line.task, *map(str, numbers), rate)
    screen.print(table)


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """A table of rows with the same keys; the first names each row, and is not cut off."""
    if not rows:
        screen.print("nothing yet")
        return
    table = Table(*rows[0], box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].no_wrap = True
    table.columns[0].min_width = min(max(len(str(next(iter(row.values())))) for row in rows), _WIDEST_NAME)
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))  # labels and messages are no markup
    screen.print(table)
