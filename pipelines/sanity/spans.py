"""Holds the rules about text spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.types import Annotation, TextSpan
from pipelines.sanity.draft import Draft, Row
from pipelines.sanity.overlaps import numbered
from pipelines.sanity.rules import Rule


def outside(draft: Draft) -> None:
    if draft.text is None:
        return
    length = len(draft.text)
    for row in draft.rows(TextSpan):
        start, end = row.geometry.start, row.geometry.end
        if start >= end or (start >= 0 and end <= length):
            continue
        if start < length and end > 0:
            message = f"the span [{start}, {end}) reaches beyond the text of {length} characters"
            instead = _with_span(row.annotation, max(start, 0), min(end, length), text=draft.text)
            draft.change("outside_text", row.place, message, instead=instead)
        else:
            message = f"the span [{start}, {end}) lies outside of the text of {length} characters"
            draft.remove("outside_text", row.place, message)


def empty(draft: Draft) -> None:
    for row in draft.rows(TextSpan):
        start, end = row.geometry.start, row.geometry.end
        if start >= end:
            draft.remove("empty_span", row.place, f"the span [{start}, {end}) is empty")
        elif (covered := _covered(row.geometry, draft.text)) is not None and not covered.strip():
            draft.remove("empty_span", row.place, f"the span [{start}, {end}) holds nothing but white space")


def untrimmed(draft: Draft) -> None:
    for row in draft.rows(TextSpan):
        covered = _covered(row.geometry, draft.text)
        if covered is None or draft.text is None or covered == covered.strip() or not covered.strip():
            continue
        start = row.geometry.start + len(covered) - len(covered.lstrip())
        end = row.geometry.end - len(covered) + len(covered.rstrip())
        message = f"the span [{row.geometry.start}, {row.geometry.end}) begins or ends in white space"
        instead = _with_span(row.annotation, start, end, text=draft.text)
        draft.change("untrimmed_span", row.place, message, instead=instead)


def duplicates(draft: Draft) -> None:
    first = dict[tuple[str, int, int], Annotation]()
    for row in _not_empty(draft.rivals(TextSpan)):
        annotation, span = row.annotation, row.geometry
        kept = first.setdefault((annotation.label, span.start, span.end), annotation)
        if kept is not annotation:
            message = f"the span marks what #{kept.id} marks, with the same label"
            draft.remove("duplicate", row.place, message, is_covered=True)


def overlapping_same_label(draft: Draft) -> None:
    _overlapping(draft, "overlap_same_label", is_same=True)


def overlapping_other_label(draft: Draft) -> None:
    _overlapping(draft, "overlap_other_label", is_same=False)


def _overlapping(draft: Draft, rule: Rule, *, is_same: bool) -> None:
    rows = _not_empty(draft.rivals(TextSpan))
    found = [(rows[loser], rows[winner].annotation) for loser, winner in _beaten(rows, is_same=is_same)]
    for row, winner in sorted(found, key=lambda pair: pair[0].place):
        message = f"the span overlaps #{winner.id} with the label {winner.label!r}"
        draft.remove(rule, row.place, message, is_covered=True)


def _beaten(rows: Sequence[Row[TextSpan]], *, is_same: bool) -> list[tuple[int, int]]:
    """Spans, best first, that overlap a better one with the same or another label, and that one; greedily."""
    starts = np.array([row.geometry.start for row in rows])
    ends = np.array([row.geometry.end for row in rows])
    labels = numbered([row.annotation.label for row in rows])
    is_kept, found = np.zeros(len(rows), dtype=bool), list[tuple[int, int]]()
    for index in _crowded(starts, ends):
        is_rival = is_kept & (starts < ends[index]) & (ends > starts[index]) & ((labels == labels[index]) == is_same)
        winner = int(is_rival.argmax())
        if is_rival[winner]:
            found.append((index, winner))
        else:
            is_kept[index] = True
    return found


def _crowded(starts: np.ndarray, ends: np.ndarray) -> list[int]:
    """The indices, in order, of ranges that overlap any other; most texts have none."""
    if len(starts) < 2:
        return []
    order = np.argsort(starts, kind="stable")
    reach = np.maximum.accumulate(ends[order])
    overlaps_before = np.append(False, starts[order][1:] < reach[:-1])
    overlaps_after = np.append(starts[order][1:] < ends[order][:-1], False)
    return sorted(order[overlaps_before | overlaps_after].tolist())


def _not_empty(rows: Sequence[Row[TextSpan]]) -> list[Row[TextSpan]]:
    return [row for row in rows if row.geometry.start < row.geometry.end]


def _covered(span: TextSpan, text: str | None) -> str | None:
    """What a span marks, where it lies in the text."""
    return text[span.start : span.end] if text is not None and 0 <= span.start < span.end <= len(text) else None


def _with_span(annotation: Annotation, start: int, end: int, *, text: str) -> Annotation:
    marked = None if annotation.text is None else text[start:end]
    return replace(annotation, geometry=TextSpan(start=start, end=end), text=marked)
