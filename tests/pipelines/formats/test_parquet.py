"""Tests that pandas, DuckDB and Hugging Face ``datasets`` find in the shards what went into them."""

from __future__ import annotations

import hashlib
import math
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigError
from models.types import MEDIA_OF_TASK, Annotation, Item, Mask, Polygon, Task, TextSpan, TimeSpan
from pipelines.formats import parquet
from pipelines.formats.exported import Exported
from pipelines.formats.results import Result
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.readers import Reader, reader
from tests.pipelines.formats.table.entries import entries

ROOT = Path(__file__).parents[3]
TEXT = "Ada met 🦜 Grace"
OF_EVERY_TASK = [
    replace(a_result("a.png", an_annotation("0"), confidence=0.5, threshold=math.inf), size_hw=(480, 640)),
    a_result(
        "b.png",
        an_annotation("0"),
        an_annotation("m0", geometry=Mask(size_hw=(48, 64), counts="P1"), parent_id="0"),
        an_annotation("p0", geometry=Polygon(points_xy=((0.0, 0.0), (9.0, 0.0), (0.0, 6.0)))),
        task="segmentation",
    ),
    a_result(
        "caf\udce9.txt",
        Annotation(
            id="0",
            label="person",
            geometry=TextSpan(start=10, end=15),
            score=0.75,
            text="Grace",
            attributes={"source": "model", "n": 2, "limit": math.inf},
        ),
        task="ner",
    ),
    replace(
        a_result("d.wav", an_annotation("0", geometry=TimeSpan(start_s=0.5, end_s=1.5), text="hello"), task="speech"),
        duration_s=2.0,
    ),
    a_result("nothing.png"),
    a_failure("broken.png"),
]


def an_entry(result: Result) -> Exported:
    media = MEDIA_OF_TASK[result.task]
    item = Item(id=result.id, media=media, uri=f"/drop/{result.id}", meta={"camera": "left"})
    return Exported(result=result, item=item, text=TEXT if media == "text" else None)


def some_entries(count: int) -> Iterator[Exported]:
    result = a_result(task="detection")
    for number in range(count):
        annotations = (an_annotation(score=number / count),)
        yield an_entry(replace(result, id=f"{number}.png", status="labels", annotations=annotations))


def written(out: Path, results: Iterable[Result] = OF_EVERY_TASK) -> Path:
    """The only shard of some results."""
    (shard,) = parquet.write_shards(map(an_entry, results), out, rows_per_shard=1_000)
    return shard.path


def rows_of(file: Path) -> list[dict[str, Any]]:
    return pq.read_table(file).to_pylist()


def microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def plain(value: object) -> object:
    """Lists and numbers for the arrays and scalars of numpy, which pandas gives."""
    match value:
        case dict():
            return {name: plain(entry) for name, entry in value.items()}
        case list():
            return [plain(entry) for entry in value]
        case _ if hasattr(value, "tolist"):
            return plain(value.tolist())  # pyright: ignore[reportAttributeAccessIssue]
        case _:
            return None if value is pd.NaT or value != value else value


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("parquet", "parquet") as found:
        yield found


def test_results_of_every_task_come_back(tmp_path: Path) -> None:
    left_out = parquet.write([an_entry(result) for result in OF_EVERY_TASK], labels=["circle", "person"], out=tmp_path)

    assert left_out == Counter()
    assert set(get_args(Task)) == parquet.TASKS
    assert list(parquet.read(tmp_path)) == OF_EVERY_TASK


def test_pandas_reads_every_value(tmp_path: Path) -> None:
    file = written(tmp_path)

    frame = pd.read_parquet(file)

    assert str(frame.dtypes["created_at"]) == "datetime64[us, UTC]"
    assert frame.dtypes["confidence"] == "float64"
    assert [plain(row) for row in frame.to_dict("records")] == rows_of(file)


def test_duckdb_reads_every_column_with_its_type(library: Reader, tmp_path: Path) -> None:
    file = written(tmp_path)

    described = library.ask(library="duckdb", sql=f"DESCRIBE FROM '{file}'")

    types = {name: type_ for name, type_, *_ in described}
    pairs = 'STRUCT("key" VARCHAR, "value" {})[]'
    assert types["item_id"] == "VARCHAR"
    assert types["meta"] == pairs.format("VARCHAR")
    assert types["uncertainty"] == types["signals"] == pairs.format("DOUBLE")
    assert types["created_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["chain"] == "VARCHAR[]"
    assert types["annotations"].startswith("STRUCT(id VARCHAR, ")
    assert "polygon DOUBLE[][]" in types["annotations"]
    assert "STRUCT(height BIGINT, width BIGINT, counts VARCHAR)" in types["annotations"]


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT a.box FROM labels WHERE task = 'detection'", [[[10.0, 20.0, 40.0, 60.0]]]),
        ("SELECT text[a.start + 1 : a.end] FROM labels WHERE task = 'ner'", [["Grace"]]),
        ("SELECT a.mask.counts FROM labels WHERE a.mask IS NOT NULL", [["P1"]]),
        (
            "SELECT a.attributes->>'$.source', (a.attributes->>'$.n')::INT FROM labels WHERE task = 'ner'",
            [["model", 2]],
        ),
        ("SELECT (a.attributes->>'$.limit')::DOUBLE FROM labels WHERE task = 'ner'", [[math.inf]]),
        ("SELECT map_from_entries(uncertainty)['miss_risk'] FROM items WHERE item_id = 'nothing.png'", [[0.2]]),
        ("SELECT item_id FROM items WHERE threshold = 'inf'", [["a.png"]]),
        ("SELECT epoch_us(created_at) FROM items WHERE task = 'ner'", [[1767323040000000]]),
        (
            "SELECT status, count(*) FROM items GROUP BY ALL ORDER BY ALL",
            [["failed", 1], ["labels", 4], ["nothing_found", 1]],
        ),
    ],
)
def test_duckdb_answers_questions_about_items_and_labels(
    library: Reader, tmp_path: Path, sql: str, answer: list[list[object]]
) -> None:
    items = f"items AS (FROM '{written(tmp_path)}')"
    labels = "labels AS (SELECT *, unnest(annotations) AS a FROM items)"

    assert library.ask(library="duckdb", sql=f"WITH {items}, {labels} {sql}") == answer


def test_datasets_has_features_of_the_stated_types(library: Reader, tmp_path: Path) -> None:
    features = library.ask(library="datasets", path=str(written(tmp_path)))["features"]

    pairs = "List({'key': Value('string'), 'value': Value('%s')})"
    assert features["item_id"] == "Value('string')"
    assert features["meta"] == pairs % "string"
    assert features["uncertainty"] == features["signals"] == pairs % "float64"
    assert features["created_at"] == "Value('timestamp[us, tz=UTC]')"
    assert features["calibrated"] == "Value('bool')"
    assert "'box': List(Value('float64')), 'polygon': List(List(Value('float64')))" in features["annotations"]
    assert "'start': Value('int64'), 'end': Value('int64'), 'start_s': Value('float64')" in features["annotations"]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_of_shards_is_read_without_what_is_unfinished(
    library: Reader, tmp_path: Path, streaming: bool
) -> None:
    parquet.write_shards(map(an_entry, OF_EVERY_TASK), tmp_path, rows_per_shard=4)
    (tmp_path / ".part-00002.parquet.0123abcd.tmp").write_bytes(b"PAR1")

    of_datasets = library.ask(library="datasets", path=str(tmp_path), streaming=streaming)["rows"]
    of_duckdb = library.ask(library="duckdb", sql=f"FROM '{tmp_path}/*.parquet' SELECT item_id")

    ids = [result.id.replace("\udce9", "\ufffddce9") for result in OF_EVERY_TASK]
    assert [row["item_id"] for row in of_datasets] == ids
    assert of_duckdb == [[item_id] for item_id in ids]
    assert list(pd.read_parquet(tmp_path)["item_id"]) == ids


@settings(max_examples=15)
@given(given=st.lists(entries(), min_size=1, max_size=5))
def test_any_results_are_read_alike_by_every_library(library: Reader, given: list[Exported]) -> None:
    with TemporaryDirectory() as folder:
        (shard,) = parquet.write_shards(given, Path(folder), rows_per_shard=1_000)
        everything = f"FROM '{shard.path}' SELECT * REPLACE (epoch_us(created_at) AS created_at)"

        of_duckdb = library.ask(library="duckdb", sql=everything)
        of_datasets = library.ask(library="datasets", path=str(shard.path))["rows"]
        of_pandas = [plain(row) for row in pd.read_parquet(shard.path).to_dict("records")]
        rows = rows_of(shard.path)

        assert list(parquet.read(shard.path)) == [entry.result for entry in given]
    assert of_pandas == rows
    assert of_datasets == [row | {"created_at": row["created_at"] and row["created_at"].isoformat()} for row in rows]
    in_microseconds = [row | {"created_at": row["created_at"] and microseconds(row["created_at"])} for row in rows]
    assert of_duckdb == [list(row.values()) for row in in_microseconds]


def test_shards_are_as_long_as_asked_and_named_in_order(tmp_path: Path) -> None:
    shards = parquet.write_shards(some_entries(25), tmp_path, rows_per_shard=10, name="run")

    assert [shard.path.name for shard in shards] == ["run-00000.parquet", "run-00001.parquet", "run-00002.parquet"]
    assert [shard.rows for shard in shards] == [10, 10, 5]
    assert [result.id for result in parquet.read(tmp_path)] == [f"{number}.png" for number in range(25)]


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (99_999, 100_000, 2):
        parquet.write_shard([an_entry(a_result(str(number)))], tmp_path / f"part-{number:05}.parquet")

    assert [result.id for result in parquet.read(tmp_path)] == ["2", "99999", "100000"]


def test_a_shard_says_what_its_file_is(tmp_path: Path) -> None:
    shards = parquet.write_shards(some_entries(20), tmp_path, rows_per_shard=10)

    assert len(shards) == 2
    for shard in shards:
        content = shard.path.read_bytes()
        assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert pq.read_metadata(shard.path).num_rows == shard.rows


def test_the_same_results_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    one, two = (written(tmp_path / name).read_bytes() for name in ("one", "two"))

    assert one == two


def test_no_results_make_a_shard_without_rows(tmp_path: Path) -> None:
    (shard,) = parquet.write_shards([], tmp_path, rows_per_shard=10)

    assert shard.rows == 0
    assert list(parquet.read(shard.path)) == []
    assert pd.read_parquet(shard.path).empty
    assert "item_id" in pd.read_parquet(shard.path)


def test_shards_of_an_earlier_run_are_replaced_and_other_files_are_not(tmp_path: Path) -> None:
    parquet.write_shards(some_entries(30), tmp_path, rows_per_shard=10)
    (tmp_path / ".part-00003.parquet.0123abcd.tmp").touch()
    others = ["notes.txt", "other-00001.parquet", "part-1.parquet", ".part-00000.parquet.swp"]
    for name in others:
        (tmp_path / name).touch()

    parquet.write_shards(some_entries(5), tmp_path, rows_per_shard=10)

    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["part-00000.parquet", *others])


def test_a_shard_without_rows_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1 row a shard; got 0"):
        parquet.write_shards(some_entries(5), tmp_path, rows_per_shard=0)


def test_a_run_that_breaks_leaves_the_shards_that_were_done_and_no_other_file(tmp_path: Path) -> None:
    def breaking() -> Iterator[Exported]:
        yield from some_entries(15)
        raise OSError("the drop is gone")

    with pytest.raises(OSError, match="the drop is gone"):
        parquet.write_shards(breaking(), tmp_path, rows_per_shard=10)

    assert [file.name for file in tmp_path.iterdir()] == ["part-00000.parquet"]
    assert len(list(parquet.read(tmp_path))) == 10


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.formats import parquet
from tests.pipelines.formats.test_parquet import some_entries

def entries():
    yield from some_entries(17_999)
    os.kill(os.getpid(), signal.SIGKILL)

parquet.write_shards(entries(), Path(sys.argv[1]), rows_per_shard=9_000)
"""


def test_a_process_that_is_killed_leaves_no_half_shard(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)

    assert killed.returncode == -signal.SIGKILL
    unfinished, finished = sorted(tmp_path.iterdir())
    assert unfinished.name.startswith(".part-00001.parquet.")
    assert unfinished.stat().st_size > 10_000
    assert finished.name == "part-00000.parquet"
    assert len(list(parquet.read(tmp_path))) == 9_000


def test_a_table_of_another_version_is_refused(tmp_path: Path) -> None:
    table = pq.read_table(written(tmp_path))
    pq.write_table(table.replace_schema_metadata({"prelabel.schema": "99"}), tmp_path / "new.parquet")
    pq.write_table(table.replace_schema_metadata(), tmp_path / "foreign.parquet")

    with pytest.raises(ConfigError, match=r"wanted version 1 of the columns; .*new.parquet has 99"):
        list(parquet.read(tmp_path / "new.parquet"))
    with pytest.raises(ConfigError, match=r"foreign.parquet has none"):
        list(parquet.read(tmp_path / "foreign.parquet"))


def test_row_groups_are_bounded_in_bytes_too(tmp_path: Path) -> None:
    text = "a" * (1 << 20)
    long = (replace(entry, text=text) for entry in some_entries(100))

    (shard,) = parquet.write_shards(long, tmp_path, rows_per_shard=1_000)

    sizes = [pq.read_metadata(shard.path).row_group(number).num_rows for number in range(4)]
    assert sizes == [32, 32, 32, 4]


def peak_bytes(entries: Iterable[Exported], out: Path) -> int:
    """How much memory Python and Arrow took at most while the entries were written as one shard."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.system_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        parquet.write_shards(entries, out, rows_per_shard=1_000_000)
        return tracemalloc.get_traced_memory()[1] + (pool.max_memory() or 0)
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


def test_memory_holds_two_row_groups_of_fifty_thousand_results_at_most(tmp_path: Path) -> None:
    assert peak_bytes(some_entries(50_000), tmp_path) < 25e6  # 16 MB, as for 17,000 or 100,000; to hold all takes 53
