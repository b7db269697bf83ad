"""Reads from /proc what the processes of a service take up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What some processes took up at a moment.

    Attributes:
        at_s: the moment, in the monotonic clock.
        memory_bytes: by the processes' names; shared pages are divided among those that share them (PSS).
        open_files: file descriptors of all of them.
    """

    at_s: float
    memory_bytes: dict[str, int]
    open_files: int

    @property
    def total_bytes(self) -> int:
        return sum(self.memory_bytes.values())


def marked(variable: str, value: str) -> list[int]:
    """The processes that were started with a variable in their environment, and their descendants.

    The variable finds those that left the tree (a server that is started in the background), the tree those that wrote
    over their environment (PostgreSQL keeps its titles there).
    """
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    found = {pid for pid in parents if _is_marked(pid, f"{variable}={value}".encode())}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return sorted(found)


def usage(pids: Iterable[int]) -> Usage:
    """What processes take up now; those that have ended take up nothing."""
    memory, open_files = Counter[str](), 0
    for pid in pids:
        try:
            name, size = _name(pid), _memory_bytes(pid)
            open_files += sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())
        except _GONE:
            continue
        memory[name] += size
    return Usage(at_s=time.monotonic(), memory_bytes=dict(memory), open_files=open_files)


def _pids() -> list[int]:
    return [int(folder.name) for folder in _PROC.iterdir() if folder.name.isdecimal()]


def _parent(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except _GONE:
        return None
    return int(stat.rpartition(")")[2].split()[1])  # a program's name may hold anything, brackets and blanks too


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        return mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except _GONE:
        return False


def _memory_bytes(pid: int) -> int:
    lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _name(pid: int) -> str:
    return program((_PROC / str(pid) / "cmdline").read_bytes())


def program(command: bytes) -> str:
    """A short name for a command line as /proc has it: the script of an interpreter, or the title that was set."""
    words = [word for word in command.decode(errors="replace").split("\0") if word]
    if not words:
        return "ended"
    title, *arguments = words
    if title.startswith("ray::"):
        return title.strip()
    name = title.split(":")[0] if title.startswith("postgres:") else Path(title).name
    scripts = (Path(word).name for word in arguments if not word.startswith("-"))
    return next(scripts, name) if name.startswith("python") else name
