"""Tests that workers on a Ray cluster label a drop as one process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.demo.sentences import held_out_texts
from pipelines.fetch import FetchPolicy
from pipelines.formats import parquet
from pipelines.formats.results import Result
from pipelines.sources import open_source
from pipelines.sources.source import Source
from pipelines.store.drops import Drops
from pipelines.store.listing import Listing
from pipelines.store.store import Store
from pipelines.workers.needs import Needs
from serving.drops.staff import Staffing, needed, needs_of
from serving.ray_flags import COMMON
from serving.settings import load

COUNTED = ("listed", "labels", "nothing_found", "failed", "accepted", "review", "status")
ITEMS = 1_100  # more than one process does before a cluster has started


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [sentence.text for sentence in held_out_texts("easy", n=60, seed=0)]
    lines = [{"id": f"t{n:04}", "text": texts[n % len(texts)] + f" Part {n}."} for n in range(ITEMS)]
    lines[700] = {"id": "t0700"}  # an entry without anything to label
    return a_manifest(tmp_path_factory.mktemp("drop") / "drop.jsonl", lines)


def a_manifest(file: Path, lines: list[dict[str, str]]) -> Path:
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def a_source(manifest: Path) -> Source:
    return open_source(str(manifest), "ner", policy=FetchPolicy(roots=(manifest.parent,)))


def annotated(manifest: Path, out: Path, url: str, *more: str) -> tuple[int, dict[str, Any], list[Result]]:
    """The exit status, the last event, and the results by their ids, of a process of its own, as Ray needs."""
    command = [sys.executable, "-m", "serving.cli", "annotate", str(manifest), "--task", "ner", "--out", str(out)]
    environment = os.environ | COMMON | {"PRELABEL_STORE__URL": url}  # a cluster on loopback is joined by its flags
    done = subprocess.run(
        [*command, "--json", *more], env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.stdout, done.stderr
    results = sorted(parquet.read(out), key=lambda result: result.id)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), results


@contextmanager
def a_cluster(*, nodes: int) -> Iterator[str]:
    """The address of a cluster that somebody else has started."""
    command = [sys.executable, "-m", "tests.pipelines.nodes", str(nodes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()  # which ends it


@pytest.mark.ray
def test_workers_label_a_drop_as_one_process_does(manifest: Path, tmp_path: Path, postgres_url: str) -> None:
    alone, by_one, ones = annotated(manifest, tmp_path / "alone", postgres_url)
    assert (alone, by_one["listed"], len(ones)) == (3, ITEMS, ITEMS)  # one entry says nothing
    assert by_one["labels"] > ITEMS / 2

    here = annotated(manifest, tmp_path / "here", postgres_url, "--workers", "2")
    with a_cluster(nodes=2) as address:
        there = annotated(manifest, tmp_path / "there", postgres_url, "--cluster", address)

    for status, last, results in (here, there):
        assert last["workers"] > by_one["workers"] == 0
        assert status == alone
        assert {key: last[key] for key in COUNTED} == {key: by_one[key] for key in COUNTED}
        for one, other in zip(ones, results, strict=True):
            assert (one.id, one.status, labels(one)) == (other.id, other.status, labels(other))
            assert one.uncertainty == pytest.approx(other.uncertainty, abs=1e-3)


def labels(result: Result) -> list[tuple[str, str | None]]:
    return [(annotation.label, annotation.text) for annotation in result.annotations]


def test_a_cluster_that_does_not_answer_is_said_in_a_sentence(
    manifest: Path, tmp_path: Path, postgres_url: str
) -> None:
    command = [sys.executable, "-m", "serving.cli", "annotate", str(manifest), "--task", "ner"]
    environment = os.environ | {"PRELABEL_STORE__URL": postgres_url}

    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), "--cluster", "127.0.0.1:1"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert "no Ray cluster can be joined at '127.0.0.1:1'" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_small_drop_starts_no_cluster_unless_one_is_named(
    manifest: Path, tmp_path: Path, postgres_url: str
) -> None:
    small = a_manifest(tmp_path / "small.jsonl", [{"id": "a", "text": "Ada"}])
    here, there, two = Staffing(), Staffing(cluster="10.0.0.1:6379"), Staffing(workers=2)

    async with Store.open(postgres_url, is_current=True) as store:
        assert await needed(here, store, None, a_source(manifest)) is here
        assert await needed(here, store, None, a_source(small)) is None
        assert await needed(there, store, None, a_source(small)) is there
        assert await needed(two, store, None, a_source(small)) is two  # who names a number gets it
        assert await needed(None, store, None, a_source(manifest)) is None


async def test_a_run_whose_listing_is_complete_does_not_need_its_source(
    manifest: Path, tmp_path: Path, postgres_url: str
) -> None:
    gone = a_source(a_manifest(tmp_path / "gone.jsonl", [{"id": "a", "text": "Ada"}]))
    (tmp_path / "gone.jsonl").unlink()

    async with Store.open(postgres_url, is_current=True) as store:
        drops, listing = Drops(store), Listing(store)
        await drops.begin("r", name="r", task="ner", source={}, fingerprint={})
        async with drops.hold("r", worker="w") as attempt:
            await listing.add("r", list(enumerate(a_source(manifest).entries())), task="ner", attempt=attempt)
            await listing.finish("r", attempt=attempt)
        staffing = Staffing()

        assert await needed(staffing, store, await store.run("r"), gone) is staffing


def test_a_worker_reserves_what_its_cards_say_and_a_whole_gpu_where_they_say_nothing_of_it() -> None:
    card = load("demo").cards["sentence-tagger"]
    shared, on_cpu = replace(card, num_cpus=2.0, num_gpus=0.25), replace(card, num_gpus=0.0, device="cpu")

    assert needs_of([shared, shared], has_gpus=True) == Needs(cpus=4.0, gpus=0.5)
    assert needs_of([replace(card, num_cpus=2.0)], has_gpus=True) == Needs(cpus=2.0, gpus=1.0)
    assert needs_of([replace(card, num_cpus=2.0)], has_gpus=False) == Needs(cpus=2.0, gpus=0.0)
    assert needs_of([on_cpu], has_gpus=True).gpus == 0.0
    assert Needs(cpus=2.0, gpus=0.25).fit({"CPU": 16.0, "GPU": 1.0, "memory": 1e9}) == 4
    assert Needs(cpus=2.0, gpus=0.25).fit({"CPU": 16.0}) == 0
    assert str(Needs(cpus=2.0, gpus=0.25)) == "2 processors and 0.25 GPUs"
