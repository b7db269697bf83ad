"""Checks what is read of processes, on one that the test starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import processes

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux' /proc")

_MIB = 2**20
# A child of its own, which does not name the folder, holds the memory.
_CHILD = (
    "import sys, time; held = bytearray(b'x') * int(sys.stdin.readline())\n"
    "while time.process_time() < 0.05: pass\n"  # the kernel counts in hundredths of a second
    "print('held', flush=True); sys.stdin.readline()"
)
_MAPPING = (
    "import mmap, sys; file = open(sys.argv[1], 'rb'); held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); "
    "sum(held[::4096]); print('mapped', flush=True); sys.stdin.readline()"
)
_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_CHILD!r}])"


@contextmanager
def a_parent(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that names the folder, and whose child waits for a line with the bytes it shall hold."""
    command = [sys.executable, "-c", _PARENT, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


@contextmanager
def mapping(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has a file in memory, as a library would be, until it is given a line."""
    with subprocess.Popen(
        [sys.executable, "-c", _MAPPING, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "mapped\n"
        yield process
        process.communicate("\n")


def hold(process: subprocess.Popen[str], size: int) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{size}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "held\n"


def test_the_memory_of_a_child_counts_with_the_process_that_names_the_folder(tmp_path: Path) -> None:
    with a_parent(tmp_path / "one") as small, a_parent(tmp_path / "other") as large:
        hold(small, _MIB)
        hold(large, 65 * _MIB)

        pids = [processes.named_after(tmp_path / name) for name in ("one", "other")]
        usages = [processes.usage(own) for own in pids]

    assert [len(own) for own in pids] == [2, 2]
    assert usages[1].total_bytes - usages[0].total_bytes == pytest.approx(64 * _MIB, rel=0.05)
    assert all(usage.open_files >= 6 for usage in usages)
    assert all(sum(usage.cpu_s.values()) > 0 for usage in usages)


def test_a_stranger_who_maps_the_same_file_changes_nothing_in_what_is_our_own(tmp_path: Path) -> None:
    (tmp_path / "library").write_bytes(b"x" * 32 * _MIB)
    with mapping(tmp_path / "library") as ours:
        alone = processes.usage([ours.pid])
        with mapping(tmp_path / "library"):
            shared = processes.usage([ours.pid])

    assert alone.total_bytes - shared.total_bytes > 15 * _MIB
    assert sum(shared.own_bytes.values()) == pytest.approx(sum(alone.own_bytes.values()), abs=_MIB)
    assert sum(alone.own_bytes.values()) > 32 * _MIB
    assert shared.resident_bytes > 32 * _MIB


def test_a_process_that_has_ended_takes_up_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass

    usage = processes.usage([process.pid])

    assert usage.total_bytes == usage.resident_bytes == 0
    assert usage.open_files == 0


def test_nothing_is_named_after_a_folder_that_nobody_uses(tmp_path: Path) -> None:
    assert processes.named_after(tmp_path) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (b"ray::ServeReplica:gateway:gateway.handle_request\0\0", "ServeReplica:gateway:gateway"),
        (b"postgres: postgres postgres [local] idle\0", "postgres"),
        (b"/usr/lib/postgresql/bin/postgres\0-D\0/data\0", "postgres"),
        (b"/venv/bin/python\0-u\0/ray/dashboard.py\0--port=1\0", "dashboard.py"),
        (b"/venv/bin/python3\0", "python3"),
        (b"", "ended"),
    ],
)
def test_a_process_is_called_by_its_title_or_its_script(command: bytes, name: str) -> None:
    assert processes.program(command) == name
