"""Builds texts with marked spans to write out, ordinary and nasty ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from models.types import Annotation, Item, TextSpan, WholeItem
from pipelines.formats.exported import Exported
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"

# What the spans that a writer does not mark are counted under, whatever the format.
NOT_MARKED = {
    "empty spans",
    "spans that are not within the text",
    "labels that mark no part of the text",
    "spans of white space alone",
    "spans that overlap another",
}

_white = [" ", "  ", "\n", "\r\n", "\r", "\t", "\u00a0", "\u2028", "\x85", "\x1c", "\x0b", " \u0301"]
_letters = ["a", "Wort", "e\u0301", FAMILY, FLAG, "\U0001f600", "\u05e9\u05dc\u05d5\u05dd", "\u6771\u4eac"]
_signs = ["\u200f", "\ufeff", "\u200b", "\x07", "\ufffd", ";", "\\", '"', "<b>", "&", "#"]
_syntax = ["T1", "B-PER", "O", "-DOCSTART- -X- O O", "T1\tPER 0 1\ta", "#1\tAnnotatorNotes T1\tx", "NaN"]
_pieces = st.sampled_from([*_white, *_letters, *_signs, *_syntax])
_characters = st.characters()  # lone surrogates too
nasty_texts = st.lists(_pieces | _characters, max_size=12).map("".join)
nasty_labels = st.sampled_from(
    [
        "PER",
        "PERSON",
        "a b",
        "a_b",
        "a\tb",
        "",
        "-",
        "--",
        "B-x",
        "O",
        "x|y",
        "<z>",
        "!",
        "#",
        "\n",
        "\udcff",
        "x" * 120,
    ]
) | st.text(_characters, max_size=5)
nasty_ids = st.text(
    st.sampled_from("ab./\\ %:\n\x00\udce9ü\u202e\U0001f600") | _characters, max_size=12
) | st.sampled_from(
    ["a", "a.txt", "a.ann", "a.txt/b", "a.ann/b", "annotation.conf/x", "a/../b", "/a", "x.a1", "visual"]
)


def a_mark(
    start: int,
    end: int,
    label: str = "PER",
    *,
    id: str = "0",
    score: float = 0.9,
    confidence: float | None = None,
) -> Annotation:
    return an_annotation(id, label=label, geometry=TextSpan(start=start, end=end), score=score, confidence=confidence)


def marks_of(text: str, **phrases: str) -> list[Annotation]:
    """Marks on the phrases that labels are given for."""
    return [a_mark(text.index(phrase), text.index(phrase) + len(phrase), label) for label, phrase in phrases.items()]


def an_entry(text: str | None, *marks: Annotation, id: str = "doc") -> Exported:
    result = a_result(id, *marks, task="ner")
    return Exported(result=result, item=Item(id=id, media="text", uri=id), text=text)


def a_failed_entry(id: str = "broken") -> Exported:
    return Exported(result=a_failure(id, task="ner"), item=Item(id=id, media="text", uri=id), text="not labelled")


def ten_thousand_marks() -> list[Exported]:
    """Twenty texts with 500 marks each."""
    return [
        an_entry("Ada met. " * 500, *(a_mark(at, at + 3) for at in range(0, 4500, 9)), id=str(n)) for n in range(20)
    ]


def labels_of(entries: Sequence[Exported]) -> list[str]:
    return sorted({annotation.label for entry in entries for annotation in entry.result.annotations})


def ranges_in(text: str, annotations: Iterable[Annotation]) -> list[tuple[int, int]]:
    """Where the annotations lie that mark something in a text."""
    places = [annotation.geometry for annotation in annotations]
    return [(p.start, p.end) for p in places if isinstance(p, TextSpan) and 0 <= p.start < p.end <= len(text)]


def not_marked(left_out: Counter[str]) -> int:
    return sum(count for what, count in left_out.items() if what in NOT_MARKED)


@st.composite
def nasty_entries(draw: st.DrawFn) -> list[Exported]:
    """A few texts with all that may go wrong: spans of any kind, labels and ids of any characters."""
    ids = draw(st.lists(nasty_ids, max_size=4, unique=True))
    return [_nasty_entry(draw, id) for id in ids]


def _nasty_entry(draw: st.DrawFn, id: str) -> Exported:
    text = draw(nasty_texts)
    places = st.integers(0, len(text)) | st.integers(-2, len(text) + 2)
    geometries = st.builds(TextSpan, start=places, end=places) | st.just(WholeItem())
    certainties = st.sampled_from([0.0, 0.5, 0.5, 1.0]) | st.floats(0.0, 1.0)
    marks = [
        an_annotation(
            str(number),
            label=draw(nasty_labels),
            geometry=draw(geometries),
            score=draw(certainties),
            confidence=draw(st.none() | certainties),
        )
        for number in range(draw(st.integers(0, 6)))
    ]
    return an_entry(text if draw(st.integers(0, 9)) else None, *marks, id=id)
