"""Tests which spans of a text are marked, and which of them stand clear of each other."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from models.types import WholeItem
from pipelines.formats.exported import certainty
from pipelines.formats.spans import Span, apart, spans, texts, trimmed
from tests.pipelines.formats.builders import a_result, an_annotation
from tests.pipelines.formats.texts import a_failed_entry, a_mark, an_entry


def test_only_items_with_a_text_and_a_pre_label_have_spans() -> None:
    left_out = Counter[str]()

    found = list(texts([an_entry("a\0b\ud800", id="1"), an_entry(None, id="2"), a_failed_entry()], left_out))

    assert [(entry.item.id, text) for entry, text in found] == [("1", "a\ufffdb\ufffd")]
    assert left_out == {"texts that are no longer known": 1, "items that failed": 1}


def test_spans_come_in_the_texts_order_and_all_others_are_counted() -> None:
    left_out = Counter[str]()
    kept = [a_mark(0, 9), a_mark(0, 4), a_mark(3, 9)]
    others = [a_mark(4, 4), a_mark(-1, 3), a_mark(8, 10), a_mark(5, 2), an_annotation(geometry=WholeItem())]

    found = spans(a_result("a", *others, *reversed(kept), task="ner"), "nine long", left_out)

    assert [span.annotation for span in found] == kept
    assert left_out == {
        "empty spans": 1,
        "spans that are not within the text": 3,
        "labels that mark no part of the text": 1,
    }


def test_spans_are_trimmed_to_the_solid_ranges_that_begin_in_them() -> None:
    solid = [(1, 3), (3, 4), (8, 9)]
    candidates = [
        Span(start=start, end=end, annotation=a_mark(start, end))
        for start, end in ((0, 9), (2, 8), (3, 5), (4, 8), (8, 9))
    ]

    assert [(span.start, span.end) for span in trimmed(candidates, solid)] == [(1, 9), (3, 4), (3, 4), (8, 9)]


places = st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from([0.1, 0.5, 0.9]))


@given(st.lists(places, max_size=12))
def test_what_stands_apart_overlaps_nothing_and_what_gave_way_overlaps_something_as_sure(
    drawn: list[tuple[int, int, float]],
) -> None:
    candidates = [
        Span(start=start, end=start + length, annotation=a_mark(start, start + length, score=score, id=str(number)))
        for number, (start, length, score) in enumerate(drawn)
    ]

    clear = apart(candidates)

    assert all(one.end <= other.start for one, other in pairwise(clear))
    for span in candidates:
        rivals = [other for other in clear if other.start < span.end and span.start < other.end]
        assert span in clear or max(map(sureness, rivals)) >= sureness(span)


def sureness(span: Span) -> tuple[float, int]:
    return certainty(span.annotation)[0], span.end - span.start
