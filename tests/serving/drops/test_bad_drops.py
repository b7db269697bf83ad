"""Labels drops in which one item of twenty is bad: each of these fails with its code, and costs no other its labels."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from pipelines.formats import parquet
from tests.pipelines.formats.report.pages import Page
from tests.serving.conftest import PRELABEL
from tests.serving.drops import bad_drops
from tests.serving.drops.bad_drops import SECRET, Drop

_HANGS_S = 300.0
_BETWEEN_WRITES_S = 0.0005

Build = Callable[..., Drop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended, and what it said."""

    status: int
    said: str
    noted: str


def annotated(drop: Drop, out: Path, url: str, *options: str) -> Ran:
    """What ``prelabel annotate`` makes of a drop; what shall happen to its files meanwhile happens."""
    command = [PRELABEL, "annotate", str(drop.location), "--task", drop.task, "--out", str(out), *options]
    with written_to(drop.growing), subprocess.Popen(command, **_piped(url)) as process:
        try:
            if drop.vanishing is not None:
                wait_until_listed(url, process)
                drop.vanishing.unlink()
            said, noted = process.communicate(timeout=_HANGS_S)
        except BaseException:
            process.kill()
            raise
    return Ran(status=process.returncode, said=said, noted=noted)


def told(url: str, *words: str) -> Any:
    answer = subprocess.run([PRELABEL, *words, "--json"], check=True, timeout=_HANGS_S, **_piped(url))
    return json.loads(answer.stdout)


def _piped(url: str) -> dict[str, Any]:
    environment = os.environ | {"PRELABEL_STORE__URL": url}
    return {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def wait_until_listed(url: str, process: subprocess.Popen[str]) -> None:
    """Wait until the only run of a store knows all of its items."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        while connection.execute("SELECT count(*) FROM runs WHERE is_listed").fetchone() == (0,):
            assert process.poll() is None, process.communicate()


@contextmanager
def written_to(file: Path | None) -> Iterator[None]:
    """Append to a file, a byte at a time, as long as the context lasts."""
    stop = threading.Event()

    def write(file: Path) -> None:
        with file.open("ab", buffering=0) as opened:
            while not stop.wait(_BETWEEN_WRITES_S):
                opened.write(b"x")

    thread = threading.Thread(target=write, args=(file,)) if file is not None else None
    if thread is not None:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread is not None:
            thread.join()


@pytest.mark.parametrize("build", [bad_drops.images, bad_drops.texts, bad_drops.recordings])
def test_in_a_drop_with_one_bad_item_of_twenty_the_bad_ones_alone_fail(
    build: Build, tmp_path: Path, postgres_url: str
) -> None:
    drop = build(tmp_path, is_whole=False)

    ran = annotated(drop, tmp_path / "out", postgres_url, "--json")

    assert ran.status == 3, ran.noted
    assert ran.noted == ""
    started, *_, finished = map(json.loads, ran.said.splitlines())
    assert (finished["status"], finished["failed"]) == ("done", len(drop.bad))
    assert finished["finished"] == len(drop.good) + len(drop.bad) == 20 * len(drop.bad)

    codes = {bad.id: bad.code for bad in drop.bad}
    found = {result.id: result for result in parquet.read(tmp_path / "out")}
    assert {name: result.error.code for name, result in found.items() if result.error} == codes
    assert {name for name, result in found.items() if result.status != "failed"} == drop.good

    errors = {error["item_id"]: error["failure"] for error in told(postgres_url, "runs", "errors", started["run"])}
    assert {name: failure["code"] for name, failure in errors.items()} == codes
    assert {bad.id for bad in drop.bad if bad.words not in errors[bad.id]["message"]} == set()
    assert {failure["attempts"] for failure in errors.values()} <= {0, 1}  # 0: it was listed as a bad one

    counted = json.loads((tmp_path / "out" / "run.json").read_text())["errors"]
    assert {error["code"]: error["items"] for error in counted} == Counter(codes.values())
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    failed = Page(page.html.partition('<section id="failed"')[2]).text
    missing = [part for bad in drop.bad for part in (bad.id, bad.code, bad.words) if part not in failed]
    assert missing == []
    assert not any("onerror" in attributes for _, attributes in page.elements)

    rows = pq.ParquetFile(tmp_path / "out" / "part-00000.parquet").read().drop_columns("uri").to_pylist()
    for answer in (ran.said, json.dumps(errors), json.dumps(counted), page.html, json.dumps(rows, default=str)):
        assert SECRET not in answer
        assert "root:" not in answer  # /etc/passwd


@pytest.mark.parametrize("build", [bad_drops.images, bad_drops.texts, bad_drops.recordings])
def test_the_same_drop_without_its_bad_items_is_done(build: Build, tmp_path: Path, postgres_url: str) -> None:
    drop = build(tmp_path, is_whole=True)

    ran = annotated(drop, tmp_path / "out", postgres_url)

    assert ran.status == 0, ran.noted
    assert "failed with" not in ran.noted
    assert {result.id for result in parquet.read(tmp_path / "out")} == drop.good
    assert json.loads((tmp_path / "out" / "run.json").read_text())["errors"] == []


def test_the_drops_hold_more_than_twenty_kinds_of_badness(tmp_path: Path) -> None:
    built = [build(tmp_path, is_whole=False) for build in (bad_drops.images, bad_drops.texts, bad_drops.recordings)]

    assert all(len(drop.bad) * 20 == len(drop.bad) + len(drop.good) for drop in built)
    assert sum(len(drop.bad) for drop in built) > 60
    assert len({bad.code for drop in built for bad in drop.bad}) > 10
