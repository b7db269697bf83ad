"""Reads from /proc what the processes of a service take up."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What some processes took up at a moment.

    Attributes:
        at_s: the moment, in the monotonic clock.
        memory_bytes: by the processes' names; shared pages are divided among those that share them (PSS).
        own_bytes: the same, but pages of files, such as libraries, count once in full for each name. In PSS they count
            less while a stranger has them, too, and more when it ends.
        resident_bytes: the sum of what the kernel calls resident (RSS); shared pages count once for each process, so
            that those of a database count as often as it has connections.
        cpu_s: processor time by the processes' names, since each began.
        open_files: file descriptors of all of them.
    """

    at_s: float
    memory_bytes: dict[str, int]
    own_bytes: dict[str, int]
    resident_bytes: int
    cpu_s: dict[str, float]
    open_files: int

    @property
    def total_bytes(self) -> int:
        return sum(self.memory_bytes.values())


def named_after(folder: Path) -> list[int]:
    """The processes that have a folder in their command line, and their descendants.

    The folder finds those that left the tree (a database server in the background), the tree those that say nothing of
    the folder.
    """
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    found = {pid for pid in parents if _names(pid, str(folder).encode())}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return sorted(found)


def usage(pids: Iterable[int]) -> Usage:
    """What processes take up now; those that have ended take up nothing."""
    memory, private, files, cpu_s = Counter[str](), Counter[str](), Counter[str](), defaultdict[str, float](float)
    resident_bytes = open_files = 0
    for pid in pids:
        try:
            name, memory_of, busy_s = _name(pid), _memory(pid), _cpu_s(pid)
            open_files += sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())
        except _GONE:
            continue
        memory[name] += memory_of.get("Pss", 0)
        private[name] += memory_of.get("Pss_Anon", 0) + memory_of.get("Pss_Shmem", 0)
        files[name] = max(files[name], memory_of.get("RssFile", 0))
        resident_bytes += memory_of.get("Rss", 0)
        cpu_s[name] += busy_s
    return Usage(
        at_s=time.monotonic(),
        memory_bytes=dict(memory),
        own_bytes={name: size + files[name] for name, size in private.items()},
        resident_bytes=resident_bytes,
        cpu_s=dict(cpu_s),
        open_files=open_files,
    )


def _pids() -> list[int]:
    return [int(folder.name) for folder in _PROC.iterdir() if folder.name.isdecimal()]


def _parent(pid: int) -> int | None:
    try:
        return int(_stat(pid)[1])
    except _GONE:
        return None


def _stat(pid: int) -> list[str]:
    """The fields from the state on: a program's name before them may hold anything, brackets and blanks too."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _cpu_s(pid: int) -> float:
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / _TICKS_PER_S


def _names(pid: int, folder: bytes) -> bool:
    try:
        return folder in (_PROC / str(pid) / "cmdline").read_bytes()
    except _GONE:
        return False


def _memory(pid: int) -> dict[str, int]:
    """What the kernel says of a process's memory, in bytes, by its names for it."""
    lines = [line for name in ("smaps_rollup", "status") for line in (_PROC / str(pid) / name).read_text().splitlines()]
    kib = (line.partition(":") for line in lines if line.endswith(" kB"))
    return {name: 1024 * int(size.split()[0]) for name, _, size in kib}


def _name(pid: int) -> str:
    return program((_PROC / str(pid) / "cmdline").read_bytes())


def program(command: bytes) -> str:
    """A short name for a command line as /proc has it: the script of an interpreter, or the title that was set."""
    words = [word for word in command.decode(errors="replace").split("\0") if word]
    if not words:
        return "ended"
    title, *arguments = words
    if title.startswith("ray::"):
        return title.removeprefix("ray::").partition(".")[0].strip()  # behind the dot: the method that runs now
    name = title.split(":")[0] if title.startswith("postgres:") else Path(title).name
    scripts = (Path(word).name for word in arguments if not word.startswith("-"))
    return next(scripts, name) if name.startswith("python") else name
