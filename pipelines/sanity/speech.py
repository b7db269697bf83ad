"""Holds the rules about transcripts."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.types import TimeSpan
from pipelines.sanity.draft import Draft, Row
from pipelines.sanity.loops import find_loop, without_loops

_ROUNDING_S = 1e-3  # times are given in milliseconds
_LETTERS = 600  # what is said in 30 s, for which Whisper's threshold was set; of longer texts more is redundant
_FEWEST_BYTES = 9  # that zlib makes of any text


def outside(draft: Draft) -> None:
    duration_s = draft.prediction.duration_s
    length_s = duration_s if duration_s is not None and duration_s > 0.0 else math.inf
    for row in draft.rows(TimeSpan):
        start_s, end_s = row.geometry.start_s, row.geometry.end_s
        span = f"the span from {start_s:g} to {end_s:g} s"
        if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s <= end_s):
            draft.remove("outside_recording", row.place, f"{span} is no range of time")
        elif (start_s < 0.0 and end_s <= 0.0) or (start_s >= length_s and end_s > length_s + _ROUNDING_S):
            draft.remove("outside_recording", row.place, f"{span} lies outside of the recording")
        elif start_s < 0.0 or end_s > length_s + _ROUNDING_S:
            inner = TimeSpan(start_s=min(max(start_s, 0.0), length_s), end_s=min(end_s, length_s))
            instead = replace(row.annotation, geometry=inner)
            draft.change("outside_recording", row.place, f"{span} reaches beyond the recording", instead=instead)


def empty(draft: Draft) -> None:
    for row in _without_text(draft):
        # It claims no words, so that none is missing when it is gone.
        draft.remove("empty_speech", row.place, "the segment has no text", is_covered=True)


def _without_text(draft: Draft) -> list[Row[TimeSpan]]:
    """Segments without text, nor parts that are more than that.

    A text that is None is missing only where others of the label have one: speakers and sounds have none.
    """
    rows = _segments(draft)
    with_text = {row.annotation.label for row in rows if _text(row).strip()}
    found = {
        row.place: row
        for row in rows
        if not _text(row).strip() and (row.annotation.text is not None or row.annotation.label in with_text)
    }
    while filled := [
        place for place, row in found.items() if any(part not in found for part, _ in draft.parts(row.annotation))
    ]:
        found = {place: row for place, row in found.items() if place not in filled}
    return list(found.values())


def repetitive(draft: Draft) -> None:
    """Transcripts that repeat a phrase, or are so regular that they must."""
    rules = draft.rules
    for row in _segments(draft):
        words = _text(row).split()
        loop = find_loop(_plain(words), times=rules.repeat_times, least_words=rules.repeat_words)
        if loop is not None:
            phrase = " ".join(words[loop.start : loop.start + loop.length])
            _unwind(draft, row, words, f"the text says {phrase!r} {loop.times} times in a row")
        elif (ratio := _ratio(_text(row), least=rules.repeat_ratio)) > rules.repeat_ratio:
            message = f"the text is very regular: {ratio:.1f} letters for each byte of its compression"
            draft.flag("repetition", row.place, message)


def _unwind(draft: Draft, row: Row[TimeSpan], words: Sequence[str], message: str) -> None:
    """Leave one turn of each loop in a segment and in its words; where these are others, say so only."""
    rules = draft.rules
    plain = _plain(words)
    parts = [(place, part) for place, part in draft.parts(row.annotation) if part.text and part.text.strip()]
    is_spelled = not parts or _plain([part.text or "" for _, part in parts]) == plain
    if rules.repetition != "fix" or not is_spelled:
        draft.flag("repetition", row.place, message)
        return
    left = without_loops(plain, times=rules.repeat_times, least_words=rules.repeat_words)
    once = " ".join(words[position] for position in left)
    draft.change("repetition", row.place, message, instead=replace(row.annotation, text=once))
    for position in sorted(set(range(len(parts))) - set(left)):
        place, part = parts[position]
        draft.remove("repetition", place, f"{part.text!r} belongs to a loop", is_covered=True)


def repeated(draft: Draft) -> None:
    """Segments that say in turns what those before them said; words without segments are looked at in the same way."""
    rules = draft.rules
    of_label = defaultdict[str, list[Row[TimeSpan]]](list)
    for row in _segments(draft):
        if _text(row).strip() and not draft.is_part(row.annotation):
            of_label[row.annotation.label].append(row)
    for rows in of_label.values():
        said = [_plain(_text(row).split()) for row in rows]
        left = without_loops(
            [" ".join(words) for words in said],
            times=rules.repeat_times,
            least_words=rules.repeat_words,
            sizes=[len(words) for words in said],
        )
        for position in sorted(set(range(len(rows))) - set(left)):
            message = "the segment says what was said just before it, and more than once"
            draft.remove("repetition", rows[position].place, message)


def _segments(draft: Draft) -> Sequence[Row[TimeSpan]]:
    return draft.rows(TimeSpan) if draft.task == "speech" else []


def _text(row: Row[TimeSpan]) -> str:
    return row.annotation.text or ""


def _plain(words: Sequence[str]) -> list[str]:
    """Without case and punctuation, where something is left."""
    return ["".join(filter(str.isalnum, word.casefold())) or word.strip() for word in words]


def _ratio(text: str, *, least: float) -> float:
    """Letters for each byte of the compressed text, in the part of it that is the most regular; 0 if below least."""
    if len(text) <= least * _FEWEST_BYTES:
        return 0.0
    parts = (text[first : first + _LETTERS] for first in range(0, len(text), _LETTERS))
    return max(len(part) / len(zlib.compress(_recoded(part))) for part in parts)


def _recoded(text: str) -> bytes:
    """One byte for each letter of whatever script, two where there are many.

    In UTF-8, where most scripts take three, plain Hindi has a ratio of 3.0, and 1.7 like this.
    """
    number = {letter: index for index, letter in enumerate(dict.fromkeys(text))}
    return np.array([number[letter] for letter in text], dtype=np.uint8 if len(number) <= 256 else np.uint16).tobytes()
