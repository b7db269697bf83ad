"""Tests that strings which are no Unicode text pass through columns of UTF-8."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.table.surrogates import column_of, column_of_texts, escape, strings_of

any_strings = st.text(alphabet=st.characters()) | st.text(alphabet="\ufffd\ud800\udce9dfce89")


@given(st.lists(any_strings | st.none()))
def test_any_strings_come_back(strings: list[str | None]) -> None:
    assert strings_of(column_of(strings)) == strings


@given(st.text(alphabet=st.characters(exclude_characters="\ufffd", codec="utf-8")))
def test_a_string_of_unicode_text_is_written_as_it_is(string: str) -> None:
    assert escape(string) == string


def test_a_file_name_that_is_no_utf8_stays_readable() -> None:
    assert column_of(["caf\udce9.png"]).to_pylist() == ["caf\ufffddce9.png"]


def test_what_looks_escaped_already_comes_back_too() -> None:
    strings = ["\ufffddce9", "\udce9", "\ufffdfffd", "\ufffd", "\ufffddc"]

    column = column_of(strings)

    assert len(set(column.to_pylist())) == len(strings)
    assert strings_of(column) == strings


@given(st.lists(any_strings | st.none()))
def test_offsets_into_a_text_stay_true(texts: list[str | None]) -> None:
    written = column_of_texts(texts).to_pylist()

    for text, found in zip(texts, written, strict=True):
        assert (text is None) == (found is None)
        for before, after in zip(text or "", found or "", strict=True):
            assert after == ("\ufffd" if "\ud800" <= before <= "\udfff" else before)
