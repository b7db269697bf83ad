"""Counts what has come back of a drop, and shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pipelines.formats.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many items have come back, and how."""

    labels: int = 0
    nothing_found: int = 0
    failed: int = 0

    @property
    def items(self) -> int:
        return self.labels + self.nothing_found + self.failed

    def plus(self, result: Result) -> Tally:
        return replace(self, **{result.status: getattr(self, result.status) + 1})


Progress = Callable[[Tally], None]


@contextmanager
def progress_bar(total: int | None = None, *, said: str = "pre-labels") -> Iterator[Progress]:
    """A bar on standard error: ``with progress_bar(len(items)) as progress: client.stream(…, progress=progress)``.

    Args:
        total: how many items there are; None shows how many have come, and no share.
    """
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[failed]} failed"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        shown = bar.add_task(said, total=total, failed=0)
        yield lambda tally: bar.update(shown, completed=tally.items, failed=tally.failed)
