"""Builds drops for tests and lists them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from models.types import Item, Task
from pipelines.fetch import FetchPolicy
from pipelines.sources import Source, open_source
from pipelines.types import Failed


def a_tree(root: Path, *paths: str, content: bytes = b"x") -> Path:
    """A folder with files at these paths."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def opened(drop: Path | str, task: Task = "detection", *, root: Path | None = None, **options: Any) -> Source:
    """The source of a drop below ``root``, which is the drop's folder unless it is given."""
    if root is None:
        root = Path(drop) if Path(drop).is_dir() else Path(drop).parent
    return open_source(str(drop), task, policy=FetchPolicy(roots=(root,)), **options)


def ids(entries: Iterable[Item | Failed]) -> list[str]:
    """The entries' ids; those of bad ones with their code."""
    return [e.id if isinstance(e, Item) else f"{e.item.id}: {e.failure.code}" for e in entries]


def items(source: Source) -> list[Item]:
    """The entries of a source that has no bad ones."""
    entries = list(source.entries())
    assert all(isinstance(entry, Item) for entry in entries), entries
    return [entry for entry in entries if isinstance(entry, Item)]


def fault(source: Source) -> Failed:
    """The only entry of a source, which is a bad one."""
    [entry] = source.entries()
    assert isinstance(entry, Failed), entry
    return entry
