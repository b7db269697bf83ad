"""Tests that spaCy's converter finds in the columns what was marked in the texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings

from pipelines.formats import conll2003
from pipelines.formats.exported import Exported
from pipelines.formats.words import characters
from tests.pipelines.formats.readers import Reader, reader
from tests.pipelines.formats.texts import (
    FAMILY,
    FLAG,
    a_failed_entry,
    a_mark,
    an_entry,
    labels_of,
    marks_of,
    nasty_entries,
    not_marked,
    ten_thousand_marks,
)


@pytest.fixture(scope="module")
def converter() -> Iterator[Reader]:
    with reader("spacy", "conll2003") as running:
        yield running


def written(out: Path, *entries: Exported) -> tuple[Path, Counter[str]]:
    left_out = conll2003.write(iter(entries), labels=labels_of(entries), out=out)
    return out / "prelabel.conll", left_out


def entities(document: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The label and the tokens of each."""
    return [(label, document["words"][start:end]) for start, end, label in document["entities"]]


def test_a_text_becomes_columns(tmp_path: Path) -> None:
    text = "Ada Lovelace met Charles."

    file, _ = written(tmp_path, an_entry(text, *marks_of(text, PER="Ada Lovelace", MISC="Charles")))

    assert file.read_text() == (
        "-DOCSTART- -X- O O\n\nAda -X- _ B-PER\nLovelace -X- _ I-PER\nmet -X- _ O\nCharles -X- _ B-MISC\n. -X- _ O\n\n"
    )


def test_entities_come_back_with_their_labels(tmp_path: Path, converter: Reader) -> None:
    text = "Ada Lovelace, of London."

    file, _ = written(tmp_path, an_entry(text, *marks_of(text, PER="Ada Lovelace", LOC="London")))

    (document,) = converter.ask(path=file)
    assert document["words"] == ["Ada", "Lovelace", ",", "of", "London", "."]
    assert entities(document) == [("PER", ["Ada", "Lovelace"]), ("LOC", ["London"])]


def test_neighbours_of_one_label_stay_two(tmp_path: Path, converter: Reader) -> None:
    file, _ = written(tmp_path, an_entry("AdaBob Cyd", a_mark(0, 3), a_mark(3, 6), a_mark(7, 10)))

    (document,) = converter.ask(path=file)
    assert entities(document) == [("PER", ["Ada"]), ("PER", ["Bob"]), ("PER", ["Cyd"])]


def test_a_line_is_a_sentence_unless_an_entity_goes_on(tmp_path: Path, converter: Reader) -> None:
    text = "\r\nIn New\r\nYork\n\n it rains.\u2028Much."

    file, _ = written(tmp_path, an_entry(text, *marks_of(text, LOC="New\r\nYork")))

    (document,) = converter.ask(path=file)
    assert document["ends"] == [3, 6, 8]
    assert entities(document) == [("LOC", ["New", "York"])]


def test_a_character_is_never_cut(tmp_path: Path, converter: Reader) -> None:
    text = f"Zoe\u0301 {FAMILY}{FLAG}x"
    within_accent, within_family = a_mark(0, 3), a_mark(5, 6, "EMO")

    file, left_out = written(tmp_path, an_entry(text, within_accent, within_family))

    (document,) = converter.ask(path=file)
    assert document["words"] == ["Zoe\u0301", FAMILY, FLAG, "x"]
    assert entities(document) == [("PER", ["Zoe\u0301"]), ("EMO", [FAMILY])]
    assert left_out["spans that were widened to whole characters"] == 2


def test_an_accent_upon_a_space_goes_with_it(tmp_path: Path, converter: Reader) -> None:
    file, left_out = written(tmp_path, an_entry("Ada \u0301Bob", a_mark(3, 5)))

    (document,) = converter.ask(path=file)
    assert document["words"] == ["Ada", "Bob"]
    assert left_out == {"spans of white space alone": 1}


def test_words_are_cut_where_an_entity_is(tmp_path: Path, converter: Reader) -> None:
    file, _ = written(tmp_path, an_entry("東京都 Hauptbahnhof", a_mark(0, 2, "LOC"), a_mark(4, 9, "X")))

    (document,) = converter.ask(path=file)
    assert document["words"] == ["東", "京", "都", "Haupt", "bahnhof"]
    assert entities(document) == [("LOC", ["東", "京"]), ("X", ["Haupt"])]


def test_of_overlapping_spans_the_surest_stays(tmp_path: Path, converter: Reader) -> None:
    marks = [
        a_mark(0, 10, "WHOLE", score=0.99, confidence=0.2),
        a_mark(0, 4, "LEFT", score=0.3),
        a_mark(3, 7, "MIDDLE", score=0.5),
        a_mark(7, 10, "RIGHT", score=0.3),
        a_mark(8, 9, "INNER", score=0.3),
    ]

    file, left_out = written(tmp_path, an_entry("abcdefghij", *marks))

    (document,) = converter.ask(path=file)
    assert entities(document) == [("MIDDLE", ["defg"]), ("RIGHT", ["hij"])]
    assert left_out["spans that overlap another"] == 3


def test_spans_that_share_white_space_alone_both_stay(tmp_path: Path, converter: Reader) -> None:
    marks = [a_mark(0, 4), a_mark(3, 7, "LOC"), a_mark(3, 4, "GAP", score=1.0)]

    file, left_out = written(tmp_path, an_entry("Ada Rom", *marks))

    (document,) = converter.ask(path=file)
    assert entities(document) == [("PER", ["Ada"]), ("LOC", ["Rom"])]
    assert left_out == {"spans of white space alone": 1, "scores": 2}


def test_what_has_no_place_in_columns_is_counted(tmp_path: Path) -> None:
    marks = [a_mark(0, 3), a_mark(3, 4), a_mark(1, 1), a_mark(2, 9)]

    _, left_out = written(
        tmp_path, an_entry("Ada ", *marks), an_entry("x", id="2"), an_entry(None, id="3"), a_failed_entry()
    )

    assert left_out == {
        "spans of white space alone": 1,
        "empty spans": 1,
        "spans that are not within the text": 1,
        "scores": 1,
        "texts that are no longer known": 1,
        "items that failed": 1,
    }


def test_labels_that_would_break_a_column_get_a_name_of_their_own(tmp_path: Path, converter: Reader) -> None:
    marks = [a_mark(at, at + 1, label) for at, label in enumerate(["a b", "a_b", "a\tb", ""])]

    file, left_out = written(tmp_path, an_entry("wxyz", *marks))

    (document,) = converter.ask(path=file)
    assert entities(document) == [("a_b_3", ["w"]), ("a_b", ["x"]), ("a_b_2", ["y"]), ("_", ["z"])]
    assert left_out["labels that were given another name"] == 3


def test_documents_are_named_in_their_order_empty_and_unlabelled_ones_too(tmp_path: Path) -> None:
    entries = [an_entry("", id="empty"), an_entry("nothing", id="a/b\udce9\n.txt")]

    file, left_out = written(tmp_path, *entries)

    assert file.read_text().count("-DOCSTART-") == 2
    lines = (tmp_path / "documents.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["empty", "a/b\udce9\n.txt"]
    assert not left_out


def test_ten_thousand_spans_come_back(tmp_path: Path, converter: Reader) -> None:
    file, left_out = written(tmp_path, *ten_thousand_marks())

    documents = converter.ask(path=file)
    assert [entities(document) for document in documents] == [[("PER", ["Ada"])] * 500] * 20
    assert left_out == {"scores": 10_000}


def test_the_same_entries_make_the_same_bytes(tmp_path: Path) -> None:
    entry = an_entry("Ada\nLovelace", a_mark(0, 3), a_mark(4, 12, "X"))

    first, second = ((written(tmp_path, entry)[0]).read_bytes() for _ in range(2))

    assert first == second


def solid(text: str) -> str:
    """A text without its white space, and what goes with it."""
    told = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not text.isascii() else text
    pieces = [told[start:end] for start, end in pairwise(characters(told))]
    return "".join(piece for piece in pieces if not any(sign.isspace() for sign in piece))


@settings(max_examples=60, deadline=None)
@given(nasty_entries())
def test_any_texts_come_back_with_all_spans_that_are_not_counted_as_left_out(
    converter: Reader, entries: list[Exported]
) -> None:
    with TemporaryDirectory() as out:
        file, left_out = written(Path(out), *entries)
        documents = converter.ask(path=file)

    texts = [solid(entry.text.replace("\0", "\ufffd")) for entry in entries if entry.text is not None]
    assert ["".join(document["words"]) for document in documents] == [text for text in texts if text]
    marked = sum(len(entry.result.annotations) for entry in entries if entry.text is not None)
    assert sum(len(document["entities"]) for document in documents) == marked - not_marked(left_out)
