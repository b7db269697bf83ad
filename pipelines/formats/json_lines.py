"""Writes results.jsonl: every result whole, one a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from models.types import Task
from pipelines.formats import results
from pipelines.formats.exported import Exported, LeftOut

TASKS: frozenset[Task] = frozenset(get_args(Task))


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write the results as the service answers them, failures among them; nothing is left out."""
    results.write((entry.result for entry in entries), out / "results.jsonl")
    return Counter()
