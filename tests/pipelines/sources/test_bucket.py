"""Checks what of a bucket is listed, by s3fs against an S3-compatible server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from models.errors import ConfigError
from pipelines.fetch import FetchPolicy
from pipelines.sources import open_source
from tests.pipelines.formats.readers import Reader, reader
from tests.pipelines.sources.builders import ids

ALLOWED = ["s3://drops"]


@pytest.fixture(scope="module")
def s3() -> Iterator[Reader]:
    """A server whose buckets the tests of this module share; each has a prefix of its own."""
    with reader("moto", "moto") as running:
        running.ask(ask="put", bucket="drops", objects={"unrelated.jpg": "x"})
        yield running


def put(s3: Reader, objects: dict[str, str]) -> None:
    s3.ask(ask="put", bucket="drops", objects=objects)


def listed(s3: Reader, drop: str, task: str = "detection", **options: Any) -> dict[str, Any]:
    return s3.ask(ask="list", drop=drop, task=task, **{"allowed": ALLOWED, **options})


def listed_ids(s3: Reader, drop: str, task: str = "detection") -> list[str]:
    return [entry["id"] for entry in listed(s3, drop, task)["entries"]]


def test_the_objects_of_the_tasks_media_are_listed_in_the_order_of_their_keys(s3: Reader) -> None:
    keys = ["b.jpg", "a/x.PNG", "a.jpg", "a/b/c.webp", "ä.jpg", "Z.jpg", "a b+%41.jpg", "notes.txt", "c.wav"]
    put(s3, {f"order/{key}": "x" for key in keys} | {"order2.jpg": "x", "order-else/a.jpg": "x"})

    answer = listed(s3, "s3://drops/order/")

    wanted = sorted((key for key in keys if key[-4:] not in (".txt", ".wav")), key=str.encode)
    assert [entry["id"] for entry in answer["entries"]] == wanted
    assert [entry["uri"] for entry in answer["entries"]] == [f"s3://drops/order/{key}" for key in wanted]
    assert (answer["name"], answer["identity"]["location"]) == ("order", "s3://drops/order")
    assert answer == listed(s3, "s3://drops/order")


def test_what_is_listed_can_be_fetched(s3: Reader) -> None:
    put(s3, {"fetched/a b+%41 ä.jpg": "\xff\xd8"})

    [entry] = listed(s3, "s3://drops/fetched")["entries"]

    assert s3.ask(ask="fetch", uri=entry["uri"], allowed=ALLOWED) == "\xff\xd8"


def test_markers_of_folders_and_hidden_objects_are_passed_over(s3: Reader) -> None:
    put(s3, {"marks/": "", "marks/a.jpg/": "", "marks/.h.jpg": "x", "marks/.git/b.jpg": "x", "marks/c.jpg": "x"})

    assert listed_ids(s3, "s3://drops/marks") == ["c.jpg"]


def test_more_objects_than_a_page_holds_are_listed_once_each(s3: Reader) -> None:
    keys = [f"{n:03d}.jpg" for n in range(25)]
    put(s3, {f"many/{key}": "" for key in keys})

    assert listed_ids(s3, "s3://drops/many") == keys


def test_objects_that_came_later_are_seen(s3: Reader) -> None:
    put(s3, {"later/a.jpg": "x"})
    before = listed_ids(s3, "s3://drops/later")
    put(s3, {"later/b.jpg": "x"})

    assert (before, listed_ids(s3, "s3://drops/later")) == (["a.jpg"], ["a.jpg", "b.jpg"])


@pytest.mark.parametrize("name", ["drop.jsonl", "drop.csv", "drop.tsv"])
def test_a_manifest_in_a_bucket_names_objects_beside_it(name: str, s3: Reader) -> None:
    rows = {
        "drop.jsonl": '{"uri": "x/a.jpg"}\n{"uri": "../b.jpg"}\n{"uri": "./c.jpg"}\n{\n',
        "drop.csv": "uri\nx/a.jpg\n../b.jpg\n./c.jpg\nb,a\n",
        "drop.tsv": "uri\nx/a.jpg\n../b.jpg\n./c.jpg\nb\ta\n",
    }
    put(s3, {f"lists/in/{name}": rows[name]})

    answer = listed(s3, f"s3://drops/lists/in/{name}")

    assert [(entry["id"], entry["uri"], entry["code"]) for entry in answer["entries"]] == [
        ("x/a.jpg", "s3://drops/lists/in/x/a.jpg", None),
        ("../b.jpg", "s3://drops/lists/b.jpg", None),
        ("./c.jpg", "s3://drops/lists/in/c.jpg", None),
        ("line 4" if name == "drop.jsonl" else "line 5", None, "invalid_entry"),
    ]
    assert answer["identity"]["size"] == str(len(rows[name]))
    assert answer["identity"]["etag"]


def test_a_manifest_in_parquet_is_read_from_a_bucket(s3: Reader) -> None:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"uri": [f"{n}.jpg" for n in range(5000)]}), file, row_group_size=1000)
    put(s3, {"lists/drop.parquet": file.getvalue().decode("latin-1")})

    listed_uris = [entry["uri"] for entry in listed(s3, "s3://drops/lists/drop.parquet")["entries"]]

    assert listed_uris == [f"s3://drops/lists/{n}.jpg" for n in range(5000)]


def test_a_manifest_that_is_replaced_has_another_identity(s3: Reader) -> None:
    put(s3, {"changing.jsonl": '{"uri": "a.jpg"}'})
    before = listed(s3, "s3://drops/changing.jsonl")["identity"]
    put(s3, {"changing.jsonl": '{"uri": "b.jpg"}'})

    after = listed(s3, "s3://drops/changing.jsonl")["identity"]

    assert before["size"] == after["size"]
    assert before != after


@pytest.mark.parametrize(
    ("drop", "why"),
    [
        ("s3://drops/nothing here", "no objects below"),
        ("s3://other/x", "fetch.allowed_buckets"),
        ("s3://drops2", "fetch.allowed_buckets"),
        ("s3://drops/../other", "odd object name"),
        ("s3://drops/no such.jsonl", "there is no object"),
        ("gs://drops/x", "fetch.allowed_buckets"),
    ],
)
def test_what_is_not_there_or_not_open_is_said(drop: str, why: str, s3: Reader) -> None:
    with pytest.raises(RuntimeError, match=rf"ConfigError.*{why}"):
        listed(s3, drop)


def test_a_bucket_that_is_not_there_is_said(s3: Reader) -> None:
    with pytest.raises(RuntimeError, match=r"ConfigError.*there is no object s3://nowhere/"):
        listed(s3, "s3://nowhere/x", allowed=["s3://nowhere"])


def test_a_store_without_pages_is_listed_in_the_order_of_its_keys() -> None:
    store = MemoryFileSystem()
    for key in ("in/b.jpg", "in/a/c.jpg", "in/a.jpg", "in/ä.jpg", "inside/x.jpg", "in/.h.jpg"):
        store.pipe_file(f"drops/{key}", b"x")
    policy = FetchPolicy(allowed_buckets=("gs://drops/in",))

    source = open_source("gs://drops/in", "detection", policy=policy, open_filesystem=lambda _: store)

    assert ids(source.entries()) == ["a.jpg", "a/c.jpg", "b.jpg", "ä.jpg"]
    store.store.clear()


def test_a_missing_library_is_named_with_the_way_to_install_it() -> None:
    def open_filesystem(scheme: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    with pytest.raises(ConfigError, match=r"pip install 'prelabel\[s3\]'"):
        open_source(
            "s3://drops/in",
            "detection",
            policy=FetchPolicy(allowed_buckets=("s3://drops",)),
            open_filesystem=open_filesystem,
        )
