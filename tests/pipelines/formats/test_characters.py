"""Tests that whatever an id, a label or a text holds, a file can carry it."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.characters import clean, label_of, labels_of, name_of

anything = st.text(st.characters(exclude_categories=()))


@given(anything)
def test_what_is_replaced_is_replaced_one_for_one(text: str) -> None:
    cleaned = clean(text)

    cleaned.encode()
    assert "\0" not in cleaned
    for old, new in zip(text, cleaned, strict=True):
        assert new == ("\ufffd" if old == "\0" or "\ud800" <= old <= "\udfff" else old)


@given(anything)
def test_labels_and_names_can_be_written_in_xml(text: str) -> None:
    for written in (label_of(text), name_of(text)):
        element = ElementTree.fromstring(f"<a b={quoteattr(written)}/>")  # noqa: S314 our own

        assert element.get("b") == written


@given(anything, anything)
def test_different_ids_have_different_names(one: str, other: str) -> None:
    assert (name_of(one) == name_of(other)) == (one == other) or "%" in one + other


def test_ordinary_names_and_labels_stay() -> None:
    assert name_of("Århus/50% 😀.jpg") == "Århus/50% 😀.jpg"
    assert label_of("é, <b> \n😀") == "é, <b> \n😀"


def test_a_byte_that_is_no_utf8_is_written_as_that_byte() -> None:
    assert name_of("caf\udce9\\\x01\ud800.jpg") == "caf%E9%5C%01%ED%A0%80.jpg"


def test_labels_that_are_written_alike_are_one() -> None:
    assert labels_of(["", "a\x01", "a\x02", "b"]) == ["unnamed", "a\ufffd", "b"]
