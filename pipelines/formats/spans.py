"""Finds the marked spans of texts, and which of them stand clear of each other."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from models.types import Annotation, TextSpan
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled
from pipelines.formats.results import Result

_NOT_IN_UTF8_OR_POSTGRESQL = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The half-open range [start, end) of a text's code points that an annotation marks."""

    start: int
    end: int
    annotation: Annotation


def texts(entries: Iterable[Exported], left_out: LeftOut) -> Iterator[tuple[Exported, str]]:
    """The entries that have a pre-label and whose text is known, with it; others are counted as left out.

    A lone surrogate, which UTF-8 cannot hold, and NUL become U+FFFD: one for one, so that offsets stay true.
    """
    for entry in labelled(entries, left_out):
        if entry.text is None:
            left_out["texts that are no longer known"] += 1
        else:
            yield entry, _NOT_IN_UTF8_OR_POSTGRESQL.sub("\ufffd", entry.text)


def spans(result: Result, text: str, left_out: LeftOut) -> list[Span]:
    """What a result marks in its text, in the text's order, the longer first; what marks nothing there is counted."""
    found = list[Span]()
    for annotation in result.annotations:
        match annotation.geometry:
            case TextSpan(start=start, end=end) if 0 <= start < end <= len(text):
                found.append(Span(start=start, end=end, annotation=annotation))
            case TextSpan(start=start, end=end) if start == end:
                left_out["empty spans"] += 1
            case TextSpan():
                left_out["spans that are not within the text"] += 1
            case _:
                left_out["labels that mark no part of the text"] += 1
    return sorted(found, key=lambda span: (span.start, -span.end))


def trimmed(candidates: Iterable[Span], solid: Sequence[tuple[int, int]]) -> list[Span]:
    """Spans from the first to the last of the solid ranges that begin in each; those with none are gone."""
    starts, found = [start for start, _ in solid], list[Span]()
    for span in candidates:
        first, beyond = bisect_left(starts, span.start), bisect_left(starts, span.end)
        if first < beyond:
            found.append(replace(span, start=starts[first], end=solid[beyond - 1][1]))
    return found


def apart(candidates: Sequence[Span]) -> list[Span]:
    """Spans of which no two overlap, in the text's order.

    The surest is taken first, then the surest of those that do not overlap it, and so on; of the equally sure the
    longest, and of these the first.
    """
    starts, taken = list[int](), list[Span]()
    for span in sorted(candidates, key=lambda span: (-certainty(span.annotation)[0], span.start - span.end)):
        at = bisect_right(starts, span.start)
        is_clear = (at == 0 or taken[at - 1].end <= span.start) and bisect_left(starts, span.end) == at
        if is_clear:
            starts.insert(at, span.start)
            taken.insert(at, span)
    return taken
