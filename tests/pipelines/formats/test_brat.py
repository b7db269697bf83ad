"""Tests that readers of brat's files find in them what was marked in the texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from models.types import Item
from pipelines.formats import brat
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
def parser() -> Iterator[Reader]:
    with reader("brat", "brat") as running:
        yield running


def written(out: Path, *entries: Exported) -> Counter[str]:
    return brat.write(iter(entries), labels=labels_of(entries), out=out)


def test_a_text_becomes_two_files(tmp_path: Path) -> None:
    text = "Ada of London"
    marks = [a_mark(0, 3, score=0.75), a_mark(7, 13, "LOC", score=0.5, confidence=0.25)]

    written(tmp_path, an_entry(text, *marks, id="news/a"))

    assert (tmp_path / "news" / "a.txt").read_text() == text
    assert (tmp_path / "news" / "a.ann").read_text() == (
        "T1\tPER 0 3\tAda\n#1\tAnnotatorNotes T1\tscore 0.75; route review\n"
        "T2\tLOC 7 13\tLondon\n#2\tAnnotatorNotes T2\tconfidence 0.25; route review\n"
    )


def test_spans_come_back(tmp_path: Path, parser: Reader) -> None:
    text = f"Zoe\u0301 and {FAMILY} in \U0001f1e9\U0001f1ea"
    marks = marks_of(text, PER="Zoe\u0301", EMO=FAMILY, LOC="\U0001f1ea")

    written(tmp_path, an_entry(text, *marks))

    assert parser.ask(folder=tmp_path) == {
        "doc": {
            "text": text,
            "entities": [
                ["PER", [[0, 4]], "Zoe\u0301"],
                ["EMO", [[9, 14]], FAMILY],
                ["LOC", [[19, 20]], "\U0001f1ea"],
            ],
        }
    }


def test_scores_come_back_as_notes(tmp_path: Path, parser: Reader) -> None:
    marks = [a_mark(0, 3, score=0.75), a_mark(4, 8, "LOC", score=0.5, confidence=0.25)]

    written(tmp_path, an_entry("Ada\n\U0001f600 Rom", *marks))

    assert parser.ask(folder=tmp_path, notes=True) == [
        ["PER", "Ada", ["score 0.75; route review"]],
        ["LOC", "\U0001f600 Ro", ["confidence 0.25; route review"]],
    ]


def test_spans_may_overlap_and_share_a_range(tmp_path: Path, parser: Reader) -> None:
    marks = [a_mark(4, 10, "B"), a_mark(0, 6, "A"), a_mark(0, 10, "ALL"), a_mark(4, 10, "C")]

    left_out = written(tmp_path, an_entry("Ada Berlin", *marks))

    entities = parser.ask(folder=tmp_path)["doc"]["entities"]
    assert [(label, ranges) for label, ranges, _ in entities] == [
        ("ALL", [[0, 10]]),
        ("A", [[0, 6]]),
        ("B", [[4, 10]]),
        ("C", [[4, 10]]),
    ]
    assert left_out == {}
    assert "<OVERLAP>\tArg1:<ENTITY>, Arg2:<ENTITY>, <OVL-TYPE>:<ANY>" in (tmp_path / "annotation.conf").read_text()


def test_a_span_over_line_breaks_is_written_in_fragments(tmp_path: Path, parser: Reader) -> None:
    text = "\nNew\r\n \n York\u2028City\n"

    written(tmp_path, an_entry(text, a_mark(0, len(text), "LOC")))

    (entity,) = parser.ask(folder=tmp_path)["doc"]["entities"]
    assert entity == ["LOC", [[1, 4], [8, 13], [14, 18]], "New  York City"]


def test_carriage_returns_do_not_shift_what_follows(tmp_path: Path, parser: Reader) -> None:
    left_out = written(tmp_path, an_entry("a\r\nb\rAda", a_mark(5, 8)))

    document = parser.ask(folder=tmp_path)["doc"]
    assert document["text"] == "a \nb\nAda"
    assert document["entities"] == [["PER", [[5, 8]], "Ada"]]
    assert left_out == {"carriage returns": 2}


def test_labels_become_types_that_brat_takes_and_are_shown_as_they_are(tmp_path: Path, parser: Reader) -> None:
    labels = ["Ort, nah", "Ort__nah", "---", "", "!x", "a\nb", "<i>|"]

    left_out = written(tmp_path, an_entry("abcdefg", *(a_mark(at, at + 1, label) for at, label in enumerate(labels))))

    entities = parser.ask(folder=tmp_path)["doc"]["entities"]
    assert [label for label, _, _ in entities] == ["Ort__nah_2", "Ort__nah", "__2", "_", "_x", "a_b", "_i__"]
    assert left_out == {"labels that were given another name": 6}
    captions = (tmp_path / "visual.conf").read_text().partition("\n\n")[0].splitlines()
    assert captions == [
        "[labels]",
        "_",
        "_x | x",
        "__2 | ---",
        "_i__ | i",
        "Ort__nah_2 | Ort, nah",
        "Ort__nah | Ort__nah",
        "a_b | a b",
    ]
    types = (tmp_path / "annotation.conf").read_text().partition("\n\n")[0].splitlines()
    assert sorted(types[1:]) == sorted({label for label, _, _ in entities})


def test_what_cannot_be_written_is_counted(tmp_path: Path) -> None:
    marks = [a_mark(3, 5), a_mark(1, 1), a_mark(2, 9)]

    left_out = written(tmp_path, an_entry("Ada \n", *marks), an_entry(None, id="2"), a_failed_entry())

    assert left_out == {
        "spans of white space alone": 1,
        "empty spans": 1,
        "spans that are not within the text": 1,
        "texts that are no longer known": 1,
        "items that failed": 1,
    }
    assert sorted(file.name for file in tmp_path.iterdir()) == ["annotation.conf", "doc.ann", "doc.txt", "visual.conf"]


def test_texts_without_spans_are_documents_too(tmp_path: Path, parser: Reader) -> None:
    written(tmp_path, an_entry("", id="empty"), an_entry("nothing", id="nothing"))

    assert {name: (found["text"], found["entities"]) for name, found in parser.ask(folder=tmp_path).items()} == {
        "empty": ("", []),
        "nothing": ("nothing", []),
    }


def test_no_document_takes_anothers_place(tmp_path: Path) -> None:
    ids = [
        "a",
        "a.txt",
        "a.ann",
        "a.txt/b",
        "a.ann/b",
        "a/b",
        "annotation.conf/x",
        "visual.conf",
        "x.a1",
        "../up",
        "/abs",
    ]

    written(tmp_path, *(an_entry(id, id=id) for id in ids))

    texts = {file.relative_to(tmp_path).as_posix(): file.read_text() for file in tmp_path.rglob("*.txt")}
    assert sorted(texts.values()) == sorted(ids)
    assert (texts["a.txt.txt"], texts["a%2Eann.txt"], texts["x%2Ea1.txt"]) == ("a.txt", "a.ann", "x.a1")
    assert all(file.with_suffix(".ann").exists() for file in tmp_path.rglob("*.txt"))
    assert not (tmp_path.parent / "up.txt").exists()


def test_ten_thousand_spans_come_back(tmp_path: Path, parser: Reader) -> None:
    left_out = written(tmp_path, *ten_thousand_marks())

    expected = [["PER", [[at, at + 3]], "Ada"] for at in range(0, 4500, 9)]
    documents = parser.ask(folder=tmp_path)
    assert [documents[str(number)]["entities"] for number in range(20)] == [expected] * 20
    assert left_out == {}


def test_the_same_entries_make_the_same_bytes(tmp_path: Path) -> None:
    entry = an_entry("Ada\nLovelace", a_mark(0, 12), a_mark(4, 12, "X y"))

    contents = list[list[bytes]]()
    for _ in range(2):
        written(tmp_path, entry)
        contents.append([file.read_bytes() for file in sorted(tmp_path.iterdir())])

    assert contents[0] == contents[1]


def solid(text: str, ranges: Sequence[Sequence[int]]) -> list[int]:
    """The code points within the ranges that are not white space."""
    return [at for start, end in ranges for at in range(start, end) if not text[at].isspace()]


@settings(max_examples=100, deadline=None)
@given(nasty_entries())
def test_any_spans_come_back_but_for_white_space(parser: Reader, entries: list[Exported]) -> None:
    numbered = [replace(e, item=Item(id=str(n), media="text", uri="x")) for n, e in enumerate(entries)]
    with TemporaryDirectory() as out:
        left_out = written(Path(out), *numbered)
        documents = parser.ask(folder=out)
        lines = [line for file in Path(out).rglob("*.ann") for line in file.read_text("utf-8").splitlines()]

    assert all(line.startswith(("T", "#")) for line in lines)
    marked = 0
    for entry in numbered:
        if entry.text is None:
            continue
        document, annotations = documents[entry.item.id], entry.result.annotations
        marked += len(annotations)
        assert len(document["text"]) == len(entry.text)
        expected = [solid(entry.text, [place]) for place in ranges_in(entry.text, annotations)]
        found = [solid(document["text"], ranges) for _, ranges, _ in document["entities"]]
        assert sorted(found) == sorted(place for place in expected if place)
        for _, ranges, mention in document["entities"]:
            reference = " ".join(document["text"][start:end] for start, end in ranges)
            assert reference.splitlines() == [reference]  # what brat's server wants; pybrat strips the mention
            assert mention == reference.rstrip()
    assert sum(len(document["entities"]) for document in documents.values()) == marked - not_marked(left_out)


@settings(max_examples=60, deadline=None)
@given(nasty_entries())
def test_any_ids_make_files_below_the_folder(entries: list[Exported]) -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        out.mkdir()

        written(out, *entries)

        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        known = sum(entry.text is not None for entry in entries)
        assert all(out in file.parents for file in files)
        assert Counter(file.suffix for file in files) == +Counter({".txt": known, ".ann": known, ".conf": 2})
