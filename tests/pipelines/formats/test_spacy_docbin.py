"""Tests that spaCy finds in the documents what was marked in the texts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings

from models.errors import ConfigError
from pipelines.formats import spacy_docbin
from pipelines.formats.exported import Exported
from pipelines.formats.results import RESULT
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
def spacy() -> Iterator[Reader]:
    with reader("spacy", "spacy_docbin") as running:
        yield running


def written(spacy: Reader, out: Path, *entries: Exported, **options: int) -> dict[str, Any]:
    """What spaCy says after our writer has run beside it: this environment does without spaCy."""
    sent = [{"id": e.item.id, "result": RESULT.dump_python(e.result), "text": e.text} for e in entries]
    return spacy.ask(entries=sent, labels=labels_of(entries), out=out, **options)


def documents(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [document for file in answer["files"] for document in file]


def test_spans_come_back_with_labels_and_scores(tmp_path: Path, spacy: Reader) -> None:
    text = "Ada Lovelace, of London."
    marks = [a_mark(0, 12, score=0.75), a_mark(17, 23, "LOC", score=0.5, confidence=0.25)]

    (document,) = documents(written(spacy, tmp_path, an_entry(text, *marks)))

    assert document["text"] == text
    assert document["tokens"] == ["Ada", "Lovelace", ",", "of", "London", "."]
    assert document["spans"] == document["entities"] == [[0, 12, "PER"], [17, 23, "LOC"]]
    assert document["scores"] == [0.75, 0.25]
    assert document["score_kinds"] == ["score", "confidence"]


def test_labels_that_spacy_numbers_itself_come_back(tmp_path: Path, spacy: Reader) -> None:
    text = "PERSON det"

    (document,) = documents(written(spacy, tmp_path, an_entry(text, *marks_of(text, PERSON="PERSON", ORG="det"))))

    assert (document["text"], document["entities"]) == (text, [[0, 6, "PERSON"], [7, 10, "ORG"]])


def test_all_spans_are_in_the_group_and_the_surest_are_entities(tmp_path: Path, spacy: Reader) -> None:
    marks = [a_mark(0, 10, "WHOLE", score=0.2), a_mark(0, 4, "LEFT", score=0.3), a_mark(3, 7, "MIDDLE", score=0.5)]

    answer = written(spacy, tmp_path, an_entry("abcdefghij", *marks))

    (document,) = documents(answer)
    assert document["spans"] == [[0, 10, "WHOLE"], [0, 4, "LEFT"], [3, 7, "MIDDLE"]]
    assert document["scores"] == [0.2, 0.3, 0.5]
    assert document["entities"] == [[3, 7, "MIDDLE"]]
    assert answer["left_out"] == {}


def test_spans_keep_their_white_space_and_entities_do_not(tmp_path: Path, spacy: Reader) -> None:
    text = "by  Ada\n Lovelace , \t"
    marks = [a_mark(2, 18), a_mark(17, 21, "END", score=0.1), a_mark(3, 4, "GAP", score=1.0)]

    (document,) = documents(written(spacy, tmp_path, an_entry(text, *marks)))

    assert document["text"] == text
    assert document["texts"] == ["  Ada\n Lovelace ", " ", " , \t"]
    assert document["spans"] == [[2, 18, "PER"], [3, 4, "GAP"], [17, 21, "END"]]
    assert document["entities"] == [[4, 17, "PER"], [18, 19, "END"]]


def test_a_span_that_begins_within_a_character_comes_back(tmp_path: Path, spacy: Reader) -> None:
    text = f"Zoe\u0301 {FAMILY}\r\n\U0001f600"

    (document,) = documents(written(spacy, tmp_path, an_entry(text, a_mark(0, 3), a_mark(7, 8), a_mark(11, 13))))

    assert document["text"] == text
    assert document["spans"] == [[0, 3, "PER"], [7, 8, "PER"], [11, 13, "PER"]]
    assert document["texts"] == ["Zoe", "\U0001f469", "\n\U0001f600"]


def test_texts_without_spans_are_labelled_documents_with_their_ids(tmp_path: Path, spacy: Reader) -> None:
    answer = written(spacy, tmp_path, an_entry("nothing", id="a/caf\udce9\0.txt"), an_entry("", id="empty"))

    assert answer["left_out"] == {}
    full, empty = documents(answer)
    assert (full["is_labelled"], full["entities"], full["spans"]) == (True, [], [])
    assert full["item"] == {"id": "a/caf\\udce9\\x00.txt", "route": "review"}
    assert (empty["text"], empty["item"]["id"]) == ("", "empty")


def test_what_cannot_be_written_is_counted(tmp_path: Path, spacy: Reader) -> None:
    answer = written(
        spacy, tmp_path, an_entry("Ada", a_mark(1, 1), a_mark(2, 9)), an_entry(None, id="2"), a_failed_entry()
    )

    assert answer["left_out"] == {
        "empty spans": 1,
        "spans that are not within the text": 1,
        "texts that are no longer known": 1,
        "items that failed": 1,
    }


def test_no_entries_make_one_file_without_documents(tmp_path: Path, spacy: Reader) -> None:
    assert written(spacy, tmp_path) == {"left_out": {}, "files": [[]]}


def test_ten_thousand_spans_come_back_from_files_of_bounded_size(tmp_path: Path, spacy: Reader) -> None:
    answer = written(spacy, tmp_path, *ten_thousand_marks(), tokens_a_file=6_000)

    assert [len(file) for file in answer["files"]] == [4] * 5
    expected = [[at, at + 3, "PER"] for at in range(0, 4500, 9)]
    assert all(document["entities"] == document["spans"] == expected for document in documents(answer))
    assert [document["item"]["id"] for document in documents(answer)] == [str(number) for number in range(20)]


def test_the_same_entries_make_the_same_bytes(tmp_path: Path, spacy: Reader) -> None:
    text = "Ada Lovelace met Charles in London"
    entry = an_entry(text, *marks_of(text, PER="Ada", LOC="London", MISC="met Charles"))

    files = list[bytes]()
    for _ in range(2):
        written(spacy, tmp_path, entry)
        files.append((tmp_path / "prelabel-00001.spacy").read_bytes())

    assert files[0] == files[1]


def test_without_spacy_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)

    with pytest.raises(ConfigError, match=r"prelabel\[spacy\]"):
        spacy_docbin.write([], labels=[], out=tmp_path)


@settings(max_examples=60, deadline=None)
@given(nasty_entries())
def test_any_texts_come_back_with_every_span_where_it_was(spacy: Reader, entries: list[Exported]) -> None:
    with TemporaryDirectory() as out:
        answer = written(spacy, Path(out), *entries)

    known = [entry for entry in entries if entry.text is not None]
    for entry, document in zip(known, documents(answer), strict=True):
        text, length = document["text"], len(entry.text or "")
        assert len(text) == length
        assert all(a == b or "\ufffd" in (a, b) for a, b in zip(text, entry.text or "", strict=True))
        assert document["texts"] == [text[start:end] for start, end, _ in document["spans"]]
        found = sorted((start, end) for start, end, _ in document["spans"])
        assert found == sorted(ranges_in(text, entry.result.annotations))
        assert document["is_labelled"]
        assert not any(document["begin_or_end_with_space"])
    marked = sum(len(entry.result.annotations) for entry in known)
    assert sum(len(document["spans"]) for document in documents(answer)) == marked - not_marked(answer["left_out"])
