"""Tests that a run survives SIGKILL of whoever works on it and of its database: nothing lost, nothing stored twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from pipelines.store.drops import Drops
from pipelines.store.embedded import embedded_postgres
from pipelines.store.store import Store
from pipelines.store.values import Run, StoredFailure, TaskCounts
from pipelines.workers.pool import Crew
from tests.pipelines.drop_driver import AT_ONCE, BATCH, POISON

ITEMS = 2_000
SEED = 20_261_122
_LOOK_S = 0.005
_LONGEST_S = 240.0


@pytest.fixture(scope="module")
def store_folder() -> Iterator[Path]:
    """An embedded store that keeps what it has committed, and is nobody else's."""
    folder = Path(tempfile.mkdtemp(prefix="plk", dir="/tmp"))
    folder.chmod(0o711)
    with embedded_postgres(folder):
        yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("drop") / "drop.jsonl"
    lines = (json.dumps({"id": f"t{n:04}", "text": f"text number {n}"}) for n in range(ITEMS))
    file.write_text("\n".join(lines))
    return file


@contextmanager
def driver(
    store_folder: Path, run_id: str, manifest: Path, log: Path, *, workers: int = 0, nodes: int = 1
) -> Iterator[subprocess.Popen[str]]:
    """A process that works on the run, itself or by workers; it is killed at the end if it has not ended."""
    arguments = [str(store_folder), run_id, str(manifest), str(log), str(workers), str(nodes)]
    command = [sys.executable, "-m", "tests.pipelines.drop_driver", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def computed(log: Path) -> Counter[str]:
    """How often each text went through the model."""
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def wait_for(log: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many texts went through the model."""
    until = time.monotonic() + _LONGEST_S
    while sum(computed(log).values()) < count and process.poll() is None:
        assert time.monotonic() < until, "the run makes no progress"
        time.sleep(_LOOK_S)


def kill_database(store_folder: Path) -> None:
    """SIGKILL the server once it is ready, and see it dead."""
    until = time.monotonic() + _LONGEST_S
    while (pid := _ready_server(store_folder)) is None:
        assert time.monotonic() < until, "the database does not come back"
        time.sleep(_LOOK_S)
    os.kill(pid, signal.SIGKILL)
    while not _is_dead(pid):
        assert time.monotonic() < until, "the database survived"
        time.sleep(_LOOK_S)


def _ready_server(store_folder: Path) -> int | None:
    """The server's process, if it says that it is ready and is alive."""
    try:
        lines = (store_folder / "data" / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    is_ready = len(lines) > 7 and lines[7].strip() == "ready" and not _is_dead(int(lines[0]))
    return int(lines[0]) if is_ready else None


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def stored(store_folder: Path, run_id: str) -> tuple[Run, TaskCounts, int, int]:
    """The run, its counts, and how many pre-labels and review tasks it has in all."""
    count = "SELECT count(*), count(t.id) FROM prelabels p LEFT JOIN review_tasks t ON t.prelabel_id = p.id"
    with embedded_postgres(store_folder) as url:
        async with Store.open(url) as store:
            async with store.engine.connect() as connection:
                rows = (await connection.execute(text(f"{count} WHERE run_id = :run"), {"run": run_id})).one()
            [counts] = await store.counts(run_id)
            return await store.run(run_id), counts, rows[0], rows[1]


async def failed(store_folder: Path, run_id: str) -> list[StoredFailure]:
    with embedded_postgres(store_folder) as url:
        async with Store.open(url) as store:
            return await Drops(store).errors(run_id)


def assert_complete(store_folder: Path, run_id: str) -> None:
    """Every item has one pre-label, and its review is queued once."""
    run, counts, prelabels, reviews = asyncio.run(stored(store_folder, run_id))
    assert run.status == "done"
    assert (counts.labels, counts.failed, prelabels, reviews) == (ITEMS, 0, ITEMS, ITEMS)


def workers_of(driver: int, log: Path) -> set[int]:
    """The process ids of a driver's living workers."""
    noted = log.with_suffix(f".{driver}")
    return {pid for pid in map(int, noted.read_text().split()) if not _is_dead(pid)} if noted.exists() else set()


def kill_worker(driver: int, log: Path, chance: random.Random) -> None:
    """SIGKILL one of a driver's workers, and see it dead."""
    until = time.monotonic() + _LONGEST_S
    while not (living := sorted(workers_of(driver, log))):
        assert time.monotonic() < until, "no worker comes back"
        time.sleep(_LOOK_S)
    victim = chance.choice(living)
    os.kill(victim, signal.SIGKILL)
    while not _is_dead(victim):
        assert time.monotonic() < until, "the worker survived"
        time.sleep(_LOOK_S)


@pytest.mark.parametrize(
    ("number", "workers", "victims"),
    [
        (0, 0, {"driver": 5, "database": 5}),
        (1, 0, {"driver": 5, "database": 5}),
        (2, 2, {"driver": 2, "database": 2, "worker": 6}),
        (3, 2, {"driver": 2, "database": 2, "worker": 6}),
    ],
)
def test_kills_at_any_moment_lose_nothing_and_store_nothing_twice(
    number: int, workers: int, victims: dict[str, int], store_folder: Path, manifest: Path, tmp_path: Path
) -> None:
    chance, log, run_id = random.Random(SEED + number), tmp_path / "log", f"killed-{number}"
    kills = Counter[str]()
    moments = sorted(chance.sample(range(50, ITEMS - 100), 10))  # of the texts that went through the model
    order = chance.sample([victim for victim, count in victims.items() for _ in range(count)], 10)

    while moments:
        with driver(store_folder, run_id, manifest, log, workers=workers) as process:
            while moments:
                wait_for(log, moments.pop(0), process)
                time.sleep(chance.uniform(0.0, 0.05))
                assert process.poll() is None, "the run ended before it could be killed"
                victim = order.pop()
                kills[victim] += 1
                if victim == "driver":
                    process.kill()
                    assert process.wait() == -signal.SIGKILL
                    break
                if victim == "worker":
                    kill_worker(process.pid, log, chance)
                else:
                    kill_database(store_folder)
    with driver(store_folder, run_id, manifest, log, workers=workers) as process:
        assert process.wait() == 0

    assert kills == victims
    assert_complete(store_folder, run_id)
    work = computed(log)
    assert len(work) == ITEMS
    at_once = workers * Crew(most=lambda: workers, batch_items=BATCH).items if workers else AT_ONCE
    assert sum(work.values()) - ITEMS <= kills.total() * at_once


def test_a_node_that_dies_loses_nothing(store_folder: Path, manifest: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with driver(store_folder, "node", manifest, log, workers=2, nodes=2) as process:
        while len(workers_of(process.pid, log)) < 2:
            assert process.poll() is None, "the run ended before the second node had a worker"
            time.sleep(_LOOK_S)
        wait_for(log, sum(computed(log).values()) + 10 * BATCH, process)
        node = int(log.with_suffix(".node").read_text())
        os.kill(node, signal.SIGKILL)
        assert process.wait(_LONGEST_S) == 0

    assert _is_dead(node)
    assert_complete(store_folder, "node")
    assert sum(computed(log).values()) - ITEMS <= Crew(most=lambda: 1, batch_items=BATCH).items


def test_an_item_that_kills_its_worker_fails_alone(store_folder: Path, tmp_path: Path) -> None:
    manifest, log = tmp_path / "drop.jsonl", tmp_path / "log"
    texts = {f"t{n:03}": POISON if n in (40, 41, 90) else f"text number {n}" for n in range(200)}
    manifest.write_text("\n".join(json.dumps({"id": name, "text": text}) for name, text in texts.items()))

    with driver(store_folder, "poisoned", manifest, log, workers=2) as process:
        assert process.wait() == 0

    run, counts, prelabels, _ = asyncio.run(stored(store_folder, "poisoned"))
    failures = asyncio.run(failed(store_folder, "poisoned"))
    assert run.status == "done"
    assert (counts.labels, counts.failed, prelabels) == (197, 3, 197)
    assert {failure.item_id for failure in failures} == {"t040", "t041", "t090"}
    assert {(failure.failure.code, failure.failure.attempts) for failure in failures} == {("worker_lost", 4)}


def test_a_kill_half_way_costs_at_most_two_per_cent(store_folder: Path, manifest: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with driver(store_folder, "half", manifest, log) as process:
        wait_for(log, ITEMS // 2, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    half = sum(computed(log).values())

    with driver(store_folder, "half", manifest, log) as process:
        assert process.wait() == 0

    assert ITEMS // 2 <= half < ITEMS
    assert_complete(store_folder, "half")
    assert sum(computed(log).values()) <= 1.02 * ITEMS


def test_a_worker_that_is_stopped_and_wakes_up_again_stores_nothing_twice(
    store_folder: Path, manifest: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with driver(store_folder, "frozen", manifest, log) as frozen:
        wait_for(log, 500, frozen)
        frozen.send_signal(signal.SIGSTOP)
        kill_database(store_folder)  # which ends the frozen one's hold
        with driver(store_folder, "frozen", manifest, log) as other:
            wait_for(log, 1_000, other)
            frozen.send_signal(signal.SIGCONT)
            assert frozen.wait() == 1  # it was told that the run is somebody else's
            assert other.wait() == 0

    assert_complete(store_folder, "frozen")
