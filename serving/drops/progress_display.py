"""Shows how far a run is: a live bar in a terminal, plain lines elsewhere, events for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from models.types import Task
from pipelines.progress import Progress

Show = Callable[[Progress], None]

_LINE_EVERY_S = 10.0
_EVENT_EVERY_S = 1.0
_REFRESHES_PER_S = 4
_WIDEST = 100  # columns


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
    return f"{_items(progress)} · {_speed(progress)} · {' · '.join(text for text, _ in _ends(progress))}"


def drawn(task: Task, progress: Progress, *, width: int) -> Group:
    """The progress in lines of at most so many columns: a bar with the items, and the numbers below it.

    The bar has no end to run to until the whole drop is listed.
    """
    total = progress.listed if progress.is_listed else None
    items = Text(_items(progress))
    items.highlight_regex(r"^[\d,]+", "bold")
    bar = ProgressBar(total=total, completed=progress.finished)
    bar.complete_style, bar.pulse_style, bar.finished_style = "cyan", "cyan", "green"
    bars = Table.grid(padding=(0, 1, 0, 0), expand=True)
    for ratio in (None, 1, None):
        bars.add_column(ratio=ratio, no_wrap=True)
    bars.add_row(task, bar, items)
    bars.width = min(width, _WIDEST)
    numbers = Text(_speed(progress))
    for text, style in _ends(progress):
        numbers.append(" · ").append(text, style)
    return Group(bars, numbers)


def _items(progress: Progress) -> str:
    total = f"{progress.listed:,}" if progress.is_listed else f"{progress.listed:,} found so far"
    return f"{progress.finished:,} of {total}"


def _speed(progress: Progress) -> str:
    speed = f"{progress.items_per_s:.1f} items/s"
    if progress.is_listed and progress.finished == progress.listed:
        return f"{speed} · took {duration(progress.elapsed_s)}"
    return speed if progress.eta_s is None else f"{speed} · {duration(progress.eta_s)} to go"


def _ends(progress: Progress) -> list[tuple[str, str]]:
    """What became of the items, each with a style."""
    again = f" ({progress.retrying:,} to be tried again)" if progress.retrying else ""
    return [
        (f"accepted {progress.accepted:,}", "green"),
        (f"review {progress.review:,}", "yellow"),
        (f"failed {progress.failed:,}{again}", "red" if progress.failed else ""),
    ]


@contextmanager
def _bar(task: Task, notes: Console) -> Iterator[Show]:
    shown = [Progress()]

    def draw() -> Group:
        return drawn(task, shown[0], width=notes.width)

    with Live(get_renderable=draw, console=notes, refresh_per_second=_REFRESHES_PER_S):
        yield lambda progress: shown.__setitem__(0, progress)


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
