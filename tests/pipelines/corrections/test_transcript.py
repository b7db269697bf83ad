"""Tests that transcripts are compared word by word, with the word error rate of jiwer."""

from __future__ import annotations

from dataclasses import replace

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import Annotation, TimeSpan, WholeItem
from pipelines.corrections.transcript import Levels, alignment, transcripts, wer, words_of
from tests.pipelines.corrections.builders import a_segment, heard, one

_sentences = st.lists(st.sampled_from(["the", "cat", "sat", "on", "mats"]), max_size=12)


@given(_sentences, _sentences.filter(bool))
def test_the_word_error_rate_is_jiwers(ours: list[str], theirs: list[str]) -> None:
    assert wer(ours, theirs) == pytest.approx(jiwer.wer(" ".join(theirs), " ".join(ours)))


@given(_sentences, _sentences)
def test_an_alignment_covers_both_sides(ours: list[str], theirs: list[str]) -> None:
    edits = alignment(ours, theirs)

    assert [word for edit in edits for word in ours[slice(*edit.predicted)]] == ours
    assert [word for edit in edits for word in theirs[slice(*edit.right)]] == theirs


def test_where_nothing_is_said_each_inserted_word_counts() -> None:
    assert wer(["a", "b"], []) == 2.0
    assert wer([], []) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don\u2019t STOP\u2014now!", ["dont", "stop", "now"]),
        ("well-known 3.5", ["well", "known", "3", "5"]),
        ("\u4f60\u597d", ["\u4f60", "\u597d"]),
        ("... \u2014 ", []),
        ("\ufb01nd", ["find"]),
    ],
)
def test_words_have_neither_case_nor_punctuation(text: str, expected: list[str]) -> None:
    assert words_of(text) == expected


def test_words_are_in_the_order_of_their_times() -> None:
    ours, theirs = transcripts(heard("one two three")[::-1], [a_segment("one two three")])

    assert ours.words == theirs.words == ("one", "two", "three")


def test_structure_tells_segments_from_words() -> None:
    segment = a_segment("yes", id="s")
    word = one(TimeSpan(start_s=0.0, end_s=0.5), "word", id="w", text="yes", parent="s")

    assert Levels.of([word, segment]) == Levels(segments=(1,), words=(0,))
    assert Levels.of(heard("one two")) == Levels(segments=(), words=(0, 1))
    assert Levels.of([replace(word, parent_id=None, attributes={"language": "en"})]).segments == (0,)


def test_a_segment_of_one_word_beside_longer_ones_is_heard_too() -> None:
    _, theirs = transcripts([], [a_segment("are you there", 0, 1, id="0"), a_segment("yes", 1, 2, id="1")])

    assert theirs.words == ("are", "you", "there", "yes")


def test_a_transcript_of_the_whole_item_counts_like_a_segment() -> None:
    _, theirs = transcripts([], [one(WholeItem(), "speech", text="one two")])

    assert theirs.words == ("one", "two")


def test_a_segments_text_goes_before_that_of_its_words() -> None:
    predicted = _with_words("one two", "one two")

    ours, theirs = transcripts(predicted, _with_words("one too", "one two"))

    assert (ours.words, theirs.words) == (("one", "two"), ("one", "too"))


def test_words_that_were_changed_below_a_segment_left_alone_are_what_is_said() -> None:
    predicted = _with_words("one two", "one two")

    ours, theirs = transcripts(predicted, _with_words("one two", "one too"))

    assert (ours.words, theirs.words) == (("one", "two"), ("one", "too"))


def _with_words(segment: str, words: str) -> list[Annotation]:
    return [a_segment(segment, id="s"), *(replace(word, parent_id="s") for word in heard(words))]
