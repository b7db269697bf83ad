"""Sorts what was heard in a recording into utterances: what is said in one go, and the words of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from models.types import Annotation, TimeSpan
from pipelines.formats.exported import LeftOut, certainty
from pipelines.formats.results import Result

_PAUSE_MS = 1_000  # as in models/speech_windows.py: after it, something new is said
# The most that a subtitle may hold by Netflix' Timed Text Style Guide: two lines of 42 signs, seven seconds.
_LONGEST_MS = 7_000
_MOST_SIGNS = 84
_LATEST_S = 1e9  # readers take no clock with any number of hours
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")  # NUL ends a text in some readers; lone surrogates are no UTF-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A label with a time.

    Times are rounded to milliseconds and end at least one after they start, since few readers keep an empty span.
    ``text`` is one line, in which a line break is a space, and NUL and lone surrogates are U+FFFD.
    """

    annotation: Annotation
    start_ms: int
    end_ms: int
    text: str

    @property
    def speaker(self) -> str | None:
        """Who speaks, if the attribute ``speaker`` says so."""
        return one_line(str(self.annotation.attributes.get("speaker", ""))) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What is said in one go: a segment and its words in the order of their times.

    ``segment`` is missing where the card of the model keeps no segments, ``words`` is empty where it keeps no words.
    """

    segment: Spoken | None
    words: tuple[Spoken, ...] = ()

    @property
    def start_ms(self) -> int:
        return (self.segment or self.words[0]).start_ms

    @property
    def end_ms(self) -> int:
        return self.segment.end_ms if self.segment else max(word.end_ms for word in self.words)

    @property
    def text(self) -> str:
        """The segment's text, or that of its words with spaces between them."""
        if self.segment and self.segment.text:
            return self.segment.text
        return " ".join(word.text for word in self.words if word.text)

    @property
    def speaker(self) -> str | None:
        """The segment's speaker, or the one that all words have."""
        if self.segment and self.segment.speaker:
            return self.segment.speaker
        speakers = {word.speaker for word in self.words}
        return speakers.pop() if len(speakers) == 1 else None

    @property
    def certainty(self) -> tuple[float, Literal["confidence", "score"]]:
        """The segment's number to write and what it is, or the mean of its words'."""
        if self.segment:
            return certainty(self.segment.annotation)
        confidences = [word.annotation.confidence for word in self.words]
        known = [confidence for confidence in confidences if confidence is not None]
        if len(known) == len(confidences):
            return fmean(known), "confidence"
        return fmean(word.annotation.score for word in self.words), "score"


def spoken(result: Result, left_out: LeftOut) -> list[Spoken]:
    """The labels that have a time, in the order of their starts; the others are counted as left out."""
    found = list[Spoken]()
    for annotation in result.annotations:
        if isinstance(annotation.geometry, TimeSpan):
            start_ms = milliseconds(annotation.geometry.start_s)
            end_ms = max(milliseconds(annotation.geometry.end_s), start_ms + 1)
            text = one_line(annotation.text or "")
            found.append(Spoken(annotation=annotation, start_ms=start_ms, end_ms=end_ms, text=text))
        else:
            left_out["labels without a time"] += 1
    return sorted(found, key=lambda one: one.start_ms)


def utterances(result: Result, left_out: LeftOut) -> list[Utterance]:
    """What is said in a recording, in the order of the starts.

    Names of labels differ from card to card, so the structure tells what a label is. One with a parent is a word of it.
    One without is a word, too, if nothing belongs to it, its text has no space in it, and it names no ``language``, as
    segments do. Words without a segment are put together until somebody else speaks, a pause of a second, or one more
    would make it longer than seven seconds or 84 signs.
    """
    heard = spoken(result, left_out)
    parents = {one.annotation.parent_id for one in heard}
    segments, words = list[Spoken](), list[Spoken]()
    for one in heard:
        (segments if _is_segment(one, has_words=one.annotation.id in parents) else words).append(one)
    ids: set[str | None] = {segment.annotation.id for segment in segments}
    of_segment = defaultdict[str | None, list[Spoken]](list)
    for word in words:
        of_segment[word.annotation.parent_id if word.annotation.parent_id in ids else None].append(word)
    found = [Utterance(segment=segment, words=tuple(of_segment[segment.annotation.id])) for segment in segments]
    return sorted([*found, *_groups(of_segment[None])], key=lambda utterance: utterance.start_ms)


def one_line(text: str) -> str:
    """A text without line breaks, NUL and lone surrogates, and without spaces around it."""
    lines = (line.strip() for line in _UNWRITABLE.sub("\ufffd", text).splitlines())
    return " ".join(line for line in lines if line)


def clock(time_ms: int, point: str) -> str:
    """A time as 00:00:00.000, with ``point`` before the milliseconds; hours have as many digits as they need."""
    minutes, rest_ms = divmod(time_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest_ms // 1000:02}{point}{rest_ms % 1000:03}"


def milliseconds(time_s: float) -> int:
    """A time in whole milliseconds, from 0 to 30 years."""
    return round(min(max(0.0, time_s), _LATEST_S) * 1000)


def _is_segment(one: Spoken, *, has_words: bool) -> bool:
    if one.annotation.parent_id is not None:
        return False
    return has_words or "language" in one.annotation.attributes or len(one.text.split()) != 1


def _groups(words: Iterable[Spoken]) -> Iterator[Utterance]:
    group = list[Spoken]()
    for word in words:
        if group and _ends(group, word):
            yield Utterance(segment=None, words=tuple(group))
            group = []
        group.append(word)
    if group:
        yield Utterance(segment=None, words=tuple(group))


def _ends(group: Sequence[Spoken], word: Spoken) -> bool:
    """Whether something new begins with a word."""
    so_far, longer = Utterance(segment=None, words=tuple(group)), Utterance(segment=None, words=(*group, word))
    return (
        word.speaker != group[0].speaker
        or word.start_ms - so_far.end_ms >= _PAUSE_MS
        or longer.end_ms - longer.start_ms > _LONGEST_MS
        or len(longer.text) > _MOST_SIGNS
        or len(group) == _MOST_SIGNS  # words without text have no end otherwise
    )
