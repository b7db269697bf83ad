"""Checks that a job and its peer only count as agreed when they found the same in the same items."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from benchmarks.drops.agreement import agreed
from benchmarks.ratios.arms import ArmsDiffer
from models.types import Annotation, Item, Prediction, WholeItem
from pipelines.formats import parquet
from pipelines.formats.exported import Exported
from pipelines.formats.results import Result
from pipelines.types import Failure

_PREDICTION = TypeAdapter(Prediction)


def a_word(text: str, *, score: float = 0.9) -> Annotation:
    return Annotation(id="0", label="word", geometry=WholeItem(), score=score, text=text)


def ours(folder: Path, *results: Result) -> Path:
    folder.mkdir()
    entries = [Exported(result=one, item=Item(id=one.id, media="audio", uri=f"{one.id}")) for one in results]
    parquet.write(entries, labels=["word"], out=folder)
    return folder


def heard(item_id: str, *words: Annotation) -> Result:
    return Result(id=item_id, task="speech", status="labels" if words else "nothing_found", annotations=words)


def lines(file: Path, found: Mapping[str, Annotation]) -> Path:
    rows = [{"id": name, "prediction": json.loads(as_json(one))} for name, one in found.items()]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def as_json(one: Annotation) -> str:
    return _PREDICTION.dump_json(Prediction(annotations=(one,), signals={})).decode()


def test_equal_labels_are_counted_in_any_order_of_the_items(tmp_path: Path) -> None:
    out = ours(tmp_path / "out", heard("a", a_word("one")), heard("b", a_word("two")))
    results = lines(tmp_path / "results", {"b": a_word("two"), "a": a_word("one", score=0.9004)})

    assert agreed(out, results) == 2


def test_a_peers_parquet_is_read_too(tmp_path: Path) -> None:
    out = ours(tmp_path / "out", heard("a", a_word("one")))
    (tmp_path / "results").mkdir()
    pq.write_table(
        pa.table({"id": ["a"], "prediction": [as_json(a_word("one"))]}), tmp_path / "results" / "part.parquet"
    )

    assert agreed(out, tmp_path / "results") == 1


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"a": a_word("won")}, "won"),
        ({"a": a_word("one", score=0.95)}, "scores"),
        ({"b": a_word("one")}, "not the same"),
        ({"a": a_word("one"), "b": a_word("two")}, "labelled 1 items and the peer 2"),
    ],
)
def test_other_labels_scores_or_items_are_refused(found: dict[str, Annotation], message: str, tmp_path: Path) -> None:
    out = ours(tmp_path / "out", heard("a", a_word("one")))

    with pytest.raises(ArmsDiffer, match=message):
        agreed(out, lines(tmp_path / "results", found))


def test_an_item_that_failed_is_refused(tmp_path: Path) -> None:
    failure = Failure(code="timeout", message="it took too long")
    out = ours(tmp_path / "out", Result(id="a", task="speech", status="failed", error=failure))

    with pytest.raises(ArmsDiffer, match="timeout"):
        agreed(out, lines(tmp_path / "results", {"a": a_word("one")}))
