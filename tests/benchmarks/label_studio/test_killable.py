"""Checks that whatever belongs to a service is found and killed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.label_studio.killable import Killable

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
{rest}
"""


def launched(mark: Path, rest: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process with the mark of a service, and the id of a child that is in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT.format(rest=rest)],
        stdout=subprocess.PIPE,
        env=os.environ | {"BENCHMARK_SERVICE": str(mark)},
    )
    assert process.stdout is not None
    with process.stdout as said:
        return process, int(said.readline())


def test_a_kill_ends_every_process_and_those_whose_parent_is_gone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    service, other = Killable(tmp_path, {}), Killable(tmp_path / "other", {})
    stranger, its_child = launched(other.folder, "time.sleep(600)")
    running, child = launched(tmp_path, "time.sleep(600)")
    gone, orphan = launched(tmp_path, "")
    gone.wait()

    killed = service.kill()

    assert set(killed) == {running.pid, child, orphan}
    assert service.pids() == []
    assert running.wait() == -9
    assert set(other.pids()) == {stranger.pid, its_child}
    other.kill()
    stranger.wait()


def test_nothing_to_kill_is_no_error(tmp_path: Path) -> None:
    start_s = time.monotonic()

    assert Killable(tmp_path, {}).kill() == []
    assert time.monotonic() - start_s < 5
