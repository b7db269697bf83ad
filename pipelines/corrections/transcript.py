"""Compares what a recording is said to say, word by word."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from models.types import Annotation, TimeSpan
from pipelines.formats.words import words

_APOSTROPHES = str.maketrans("", "", "'\u2019\u02bc")

Change = Literal["equal", "substitute", "delete", "insert"]

_CHANGES: dict[str, Change] = {name: name for name in get_args(Change)}  # as jiwer names them, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A stretch of an alignment: the words [start, end) of either side.

    delete: they are missing in the prediction; insert: they are too much there.
    """

    change: Change
    predicted: tuple[int, int]
    right: tuple[int, int]

    @property
    def words(self) -> int:
        """How many words are equal, or one edit each."""
        (start, end), (right_start, right_end) = self.predicted, self.right
        return max(end - start, right_end - right_start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The words of a recording in the order of their times, and the place of the annotation that holds each."""

    words: tuple[str, ...]
    owners: tuple[int, ...]

    @staticmethod
    def of(annotations: Sequence[Annotation], places: Sequence[int]) -> Transcript:
        found = [(word, place) for place in places for word in words_of(annotations[place].text or "")]
        return Transcript(words=tuple(word for word, _ in found), owners=tuple(place for _, place in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The places of a recording's segments and of its words, each in the order of their times."""

    segments: tuple[int, ...]
    words: tuple[int, ...]

    @staticmethod
    def of(annotations: Sequence[Annotation]) -> Levels:
        """Names of labels differ from card to card, so the structure tells what a label is (see formats/transcript.py).

        One whose parent is there is a word. The others are segments, if one of them is a parent, names a language or
        holds more than one word; else they are words.
        """
        ids, parents = {one.id for one in annotations}, {one.parent_id for one in annotations}
        places = sorted(range(len(annotations)), key=lambda place: _time(annotations[place]))
        first = tuple(place for place in places if annotations[place].parent_id not in ids)
        below = tuple(place for place in places if annotations[place].parent_id in ids)
        if any(_is_segment(annotations[place], parents) for place in first):
            return Levels(segments=first, words=below)
        return Levels(segments=(), words=tuple(places))

    @property
    def said(self) -> tuple[int, ...]:
        """The annotations that say it all: the segments, or the words where there are no segments."""
        return self.segments or self.words


def words_of(text: str) -> list[str]:
    """The words that count: without case, apostrophes and punctuation, compatibility characters as their plain ones.

    Each character of the scripts that put no spaces between words (Han, Kana, Thai, Lao, Khmer, Burmese) is one.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    found = (plain[start:end] for start, end in words(plain))
    return [word for word in found if any(map(str.isalnum, word))]


def transcripts(predicted: Sequence[Annotation], right: Sequence[Annotation]) -> tuple[Transcript, Transcript]:
    """What the pre-label and the human say.

    A segment's text counts before that of its words. Only where a human has left the segments as they were and changed
    words below them, the words are what they say.
    """
    ours, theirs = Levels.of(predicted), Levels.of(right)
    if ours.words and theirs.words and ours.segments and theirs.segments:
        is_kept = _text(predicted, ours.segments) == _text(right, theirs.segments)
        if is_kept and _text(predicted, ours.words) != _text(right, theirs.words):
            return Transcript.of(predicted, ours.words), Transcript.of(right, theirs.words)
    return Transcript.of(predicted, ours.said), Transcript.of(right, theirs.said)


def alignment(predicted: Sequence[str], right: Sequence[str]) -> list[Edit]:
    """The stretches of an alignment with the fewest edits (Levenshtein distance over words, by jiwer)."""
    from jiwer import process_words

    if not predicted or not right:
        change: Change = "insert" if predicted else "delete"
        rest = Edit(change=change, predicted=(0, len(predicted)), right=(0, len(right)))
        return [rest] if predicted or right else []
    output = process_words([" ".join(right)], [" ".join(predicted)])
    return [
        Edit(
            change=_CHANGES[chunk.type],
            predicted=(chunk.hyp_start_idx, chunk.hyp_end_idx),
            right=(chunk.ref_start_idx, chunk.ref_end_idx),
        )
        for chunk in output.alignments[0]
    ]


def wer(predicted: Sequence[str], right: Sequence[str]) -> float:
    """Word error rate: (substitutions + deletions + insertions) / words that are right.

    From 0 up, and above 1 where much is inserted. Where nothing is right to say, it is the number of inserted words.
    """
    edits = sum(edit.words for edit in alignment(predicted, right) if edit.change != "equal")
    return edits / max(len(right), 1)


def _text(annotations: Sequence[Annotation], places: Sequence[int]) -> list[str]:
    return [word for place in places for word in (annotations[place].text or "").split()]


def _is_segment(annotation: Annotation, parents: set[str | None]) -> bool:
    is_long = len((annotation.text or "").split()) > 1
    return annotation.id in parents or "language" in annotation.attributes or is_long


def _time(annotation: Annotation) -> tuple[float, float]:
    """When it is said; a transcript of the whole item comes first."""
    match annotation.geometry:
        case TimeSpan(start_s=start_s, end_s=end_s):
            return start_s, end_s
        case _:
            return -1.0, -1.0
