"""Tests that doccano has in its database, after an import, what was marked in the texts."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings

from pipelines.formats import doccano
from pipelines.formats.exported import Exported
from tests.pipelines.formats.readers import Reader, reader
from tests.pipelines.formats.texts import (
    FAMILY,
    a_failed_entry,
    a_mark,
    an_entry,
    labels_of,
    marks_of,
    nasty_entries,
    not_marked,
    ranges_in,
    ten_thousand_marks,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Reader]:
    if sys.version_info >= (3, 12):
        pytest.skip("doccano 1.8 wants pandas 1, which Python 3.12 cannot install")
    with reader("doccano", "doccano") as running:
        yield running


def written(out: Path, *entries: Exported) -> tuple[Path, Counter[str]]:
    left_out = doccano.write(iter(entries), labels=labels_of(entries), out=out)
    return out / "doccano.jsonl", left_out


def imported(server: Reader, file: Path, **options: Any) -> list[dict[str, Any]]:
    answer = server.ask(path=file, **options)
    assert answer["errors"] == []
    return answer["examples"]


def shown(example: dict[str, Any]) -> list[tuple[str, str]]:
    """The labels and what doccano's editor puts them on: it cuts texts as JavaScript does, by UTF-16 code units."""
    units = example["text"].encode("utf-16-le")
    return [(label, units[2 * start : 2 * end].decode("utf-16-le")) for start, end, label in example["spans"]]


def test_a_text_is_a_line(tmp_path: Path) -> None:
    file, left_out = written(tmp_path, an_entry("Ada of London", a_mark(0, 3, score=0.75), id="a.txt"))

    (line,) = file.read_text().splitlines()
    entity = {"id": 1, "label": "PER", "start_offset": 0, "end_offset": 3, "score": 0.75, "score_kind": "score"}
    assert json.loads(line) == {
        "id": "a.txt",
        "text": "Ada of London",
        "label": [[0, 3, "PER"]],
        "entities": [entity],
        "relations": [],
        "route": "review",
    }
    assert left_out == {}


@pytest.mark.parametrize("encoding", ["utf_8", "Auto"])
def test_spans_come_back(tmp_path: Path, server: Reader, encoding: str) -> None:
    text = "Zoe\u0301 of Münster"

    file, _ = written(tmp_path, an_entry(text, *marks_of(text, PER="Zoe\u0301", LOC="Münster")))

    (example,) = imported(server, file, encoding=encoding)
    assert example["text"] == text
    assert example["spans"] == [[0, 4, "PER"], [8, 15, "LOC"]]


def test_spans_after_an_emoji_are_where_doccanos_editor_counts_them(tmp_path: Path, server: Reader) -> None:
    text = f"\U0001f600 Ada {FAMILY} of \U00020000"

    file, _ = written(tmp_path, an_entry(text, *marks_of(text, PER="Ada", EMO=FAMILY, LOC="\U00020000")))

    (example,) = imported(server, file)
    assert shown(example) == [("PER", "Ada"), ("EMO", FAMILY), ("LOC", "\U00020000")]
    assert example["spans"][0] == [3, 6, "PER"]


def test_a_project_with_relations_reads_the_same_spans(tmp_path: Path, server: Reader) -> None:
    marks = [a_mark(0, 3), a_mark(7, 13, "LOC"), a_mark(0, 13, "ALL")]

    file, _ = written(tmp_path, an_entry("Ada of London", *marks), an_entry("nothing", id="2"))

    plain, related = imported(server, file), imported(server, file, task="RelationExtraction")
    assert [example["spans"] for example in related] == [example["spans"] for example in plain]
    assert related[0]["spans"] == [[0, 13, "ALL"], [0, 3, "PER"], [7, 13, "LOC"]]


def test_ids_and_scores_are_metadata(tmp_path: Path, server: Reader) -> None:
    marks = [a_mark(0, 3, score=0.75), a_mark(7, 13, score=0.5, confidence=0.25)]

    file, _ = written(tmp_path, an_entry("Ada of London", *marks, id="a/caf\udce9\0.txt"))

    (example,) = imported(server, file)
    assert (example["meta"]["id"], example["meta"]["route"]) == ("a/caf\\udce9\\x00.txt", "review")
    found = [(entity["score"], entity["score_kind"]) for entity in example["meta"]["entities"]]
    assert found == [(0.75, "score"), (0.25, "confidence")]


def test_texts_stay_as_they_are(tmp_path: Path, server: Reader) -> None:
    texts = ["a\r\nb\rc\u2028d\x85", " \t\n", "NaN", "null", '{"text": "x"}', "\ufeffx\u202e"]

    file, _ = written(tmp_path, *(an_entry(text, id=text) for text in texts))

    assert [example["text"] for example in imported(server, file)] == texts


def test_labels_that_doccanos_database_cannot_hold_get_a_name_of_their_own(tmp_path: Path, server: Reader) -> None:
    labels = ["x" * 100, "x" * 101, "x" * 102, "a\0b", "\udcff", ""]

    file, left_out = written(
        tmp_path, an_entry("abcdef", *(a_mark(at, at + 1, label) for at, label in enumerate(labels)))
    )

    (example,) = imported(server, file)
    assert [label for label, _ in shown(example)] == ["x" * 100, "x" * 98 + "_2", "x" * 98 + "_3", "a_b", "__2", "_"]
    assert left_out == {"labels that were given another name": 5}


def test_what_cannot_be_written_is_counted(tmp_path: Path, server: Reader) -> None:
    entries = [
        an_entry("Ada", a_mark(1, 1), a_mark(2, 9), id="1"),
        an_entry("", id="2"),
        an_entry(None, id="3"),
        a_failed_entry(),
    ]

    file, left_out = written(tmp_path, *entries)

    assert [example["text"] for example in imported(server, file)] == ["Ada"]
    assert left_out == {
        "empty spans": 1,
        "spans that are not within the text": 1,
        "empty texts": 1,
        "texts that are no longer known": 1,
        "items that failed": 1,
    }


def test_doccano_itself_leaves_out_overlaps_where_a_project_forbids_them(tmp_path: Path, server: Reader) -> None:
    file, _ = written(tmp_path, an_entry("Ada of London", a_mark(0, 6), a_mark(4, 13)))

    (example,) = imported(server, file, allow_overlapping=False)

    assert example["spans"] == [[0, 6, "PER"]]


def test_ten_thousand_spans_come_back(tmp_path: Path, server: Reader) -> None:
    file, left_out = written(tmp_path, *ten_thousand_marks())

    expected = [[at, at + 3, "PER"] for at in range(0, 4500, 9)]
    assert [example["spans"] for example in imported(server, file)] == [expected] * 20
    assert left_out == {}


def test_the_same_entries_make_the_same_bytes(tmp_path: Path) -> None:
    entry = an_entry("Ada Lovelace", a_mark(0, 12), a_mark(4, 12, "X y"))

    first, second = (written(tmp_path, entry)[0].read_bytes() for _ in range(2))

    assert first == second


@settings(max_examples=60, deadline=None)
@given(nasty_entries())
def test_any_texts_come_back_with_every_span(server: Reader, entries: list[Exported]) -> None:
    with TemporaryDirectory() as out:
        file, left_out = written(Path(out), *entries)
        examples = imported(server, file)

    whole = [entry for entry in entries if entry.text]
    for entry, example in zip(whole, examples, strict=True):
        text = "".join("\ufffd" if "\ud800" <= sign <= "\udfff" or sign == "\0" else sign for sign in entry.text or "")
        assert example["text"] == text
        expected = [text[start:end] for start, end in ranges_in(text, entry.result.annotations)]
        assert sorted(found for _, found in shown(example)) == sorted(expected)
    candidates = sum(len(entry.result.annotations) for entry in entries if entry.text is not None)
    assert sum(len(example["spans"]) for example in examples) == candidates - not_marked(left_out)
