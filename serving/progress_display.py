"""Shows how far a run is: a live bar in a terminal, plain lines elsewhere, events for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from models.types import Task
from pipelines.progress import Progress

Show = Callable[[Progress], None]

_LINE_EVERY_S = 10.0
_EVENT_EVERY_S = 1.0


@contextmanager
def shown(task: Task, *, notes: Console, events: Console | None) -> Iterator[Show]:
    """What to call with the progress.

    Args:
        notes: for a person; a bar if it is a terminal, else a line every ten seconds.
        events: for machines, a line of JSON a second, in place of both; None without.
    """
    if events is not None:
        yield _every(_EVENT_EVERY_S, lambda progress: event(events, "progress", **figures(progress)))
    elif notes.is_terminal:
        with _bar(task, notes) as show:
            yield show
    else:
        yield _every(_LINE_EVERY_S, lambda progress: notes.print(f"{task}: {line(progress)}", soft_wrap=True))


def event(console: Console, name: str, **facts: object) -> None:
    """Print one event as a line of JSON."""
    console.print(json.dumps({"event": name} | facts, default=str), markup=False, highlight=False, soft_wrap=True)


def figures(progress: Progress) -> dict[str, object]:
    """The progress as numbers."""
    return asdict(progress) | {
        "finished": progress.finished,
        "items_per_s": round(progress.items_per_s, 2),
        "eta_s": None if progress.eta_s is None else round(progress.eta_s, 1),
    }


def line(progress: Progress) -> str:
    """The progress as a sentence."""
    total = f"{progress.listed:,}" if progress.is_listed else f"{progress.listed:,} found so far"
    parts = [
        f"{progress.finished:,} of {total}",
        f"{progress.items_per_s:.1f} items/s",
        *([] if progress.eta_s is None else [f"{duration(progress.eta_s)} to go"]),
        _ends(progress),
    ]
    return " · ".join(parts)


def _ends(progress: Progress) -> str:
    ends = f"accepted {progress.accepted:,} · review {progress.review:,} · failed {progress.failed:,}"
    return f"{ends} ({progress.retrying:,} to be tried again)" if progress.retrying else ends


@contextmanager
def _bar(task: Task, notes: Console) -> Iterator[Show]:
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[numbers]}"))
    with Bars(*columns, console=notes, refresh_per_second=4) as bars:
        bar = bars.add_task(task, total=None, numbers="")
        yield lambda progress: bars.update(
            bar,
            total=progress.listed if progress.listed else None,
            completed=progress.finished,
            numbers=_short(progress),
        )


def _short(progress: Progress) -> str:
    more = "" if progress.is_listed else "+"
    eta = "" if progress.eta_s is None else f"  {duration(progress.eta_s)}"
    failed = f"[red]failed {progress.failed:,}[/]" if progress.failed else "failed 0"
    return (
        f"[bold]{progress.finished:,}[/]/{progress.listed:,}{more}  {progress.items_per_s:.1f}/s{eta}  "
        f"[green]accepted {progress.accepted:,}[/]  [yellow]review {progress.review:,}[/]  {failed}"
    )


def duration(seconds: float) -> str:
    """A time as hours:minutes:seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _every(period_s: float, show: Show) -> Show:
    last = [time.monotonic()]

    def show_now_and_then(progress: Progress) -> None:
        if time.monotonic() - last[0] >= period_s:
            last[0] = time.monotonic()
            show(progress)

    return show_now_and_then
