"""Tests where texts are cut into words and characters."""

from __future__ import annotations

from itertools import pairwise

import pytest
import regex
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.formats.words import characters, words
from tests.pipelines.formats.texts import FAMILY, FLAG, nasty_texts

VIRAMAS = regex.compile(r"\p{Indic_Syllabic_Category=Virama}|\p{Indic_Syllabic_Category=Invisible_Stacker}")


def cut(text: str, *borders: int) -> list[str]:
    return [text[start:end] for start, end in words(text, borders=borders)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Ada's 3.5 km_2!?", ["Ada", "'", "s", " ", "3", ".", "5", " ", "km_2", "!", "?"]),
        ("Zoe\u0301\r\n\t", ["Zoe\u0301", "\r\n", "\t"]),
        ("東京タワー ไทย", [*"東京タワー", " ", *"ไทย"]),
        ("नमस्ते שלום", ["नमस्ते", " ", "שלום"]),
        (f"{FAMILY}{FLAG}{FLAG}\U0001f44d\U0001f3fda", [FAMILY, FLAG, FLAG, "\U0001f44d\U0001f3fd", "a"]),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, pieces: list[str]) -> None:
    assert cut(text) == pieces


def test_words_are_cut_at_borders_too() -> None:
    assert cut("Hauptbahnhof e\u0301", 0, 5, 5, 14, 15) == ["Haupt", "bahnhof", " ", "e", "\u0301"]


@given(nasty_texts, st.lists(st.integers(0, 30)))
def test_words_make_up_the_text_and_have_all_borders_in_it(text: str, borders: list[int]) -> None:
    found = list(words(text, borders=borders))

    assert "".join(text[start:end] for start, end in found) == text
    assert all(start < end for start, end in found)
    assert {at for at in borders if 0 < at < len(text)} <= {start for start, _ in found}


@given(nasty_texts)
def test_a_word_consists_of_whole_characters(text: str) -> None:
    edges = set(characters(text))

    assert {at for span in words(text) for at in span} <= edges


@given(st.lists(st.sampled_from([*"a\u0301\u200d\U0001f1e9\U0001f1ea\U0001f468\u0903\r\n", FAMILY])).map("".join))
def test_a_character_is_an_extended_grapheme_cluster(text: str) -> None:
    assume(not VIRAMAS.search(text))  # after a flag they join to the letter that follows in regex, in the standard not

    found = [text[start:end] for start, end in pairwise(characters(text))]

    assert found == regex.findall(r"\X", text)
