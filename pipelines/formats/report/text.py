"""Cuts texts and transcripts of a report where their labels begin and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from models.types import Annotation, TextSpan, TimeSpan

MAX_CHARS = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of text under the same labels throughout.

    ``over`` holds the labels over it, the shortest last; ``ends`` those that end with it.
    """

    text: str
    over: tuple[Annotation, ...] = ()
    ends: tuple[Annotation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A transcribed word with its label; ``span`` is None where its time is not known."""

    text: str
    annotation: Annotation
    span: TimeSpan | None


def pieces(text: str, annotations: Sequence[Annotation]) -> list[Piece]:
    """A text, at most its first MAX_CHARS code points, in pieces that make it up when joined.

    Args:
        annotations: those that are no text spans are left out; spans may overlap and nest.
    """
    text = text[:MAX_CHARS]
    spans = [(a.geometry, a) for a in annotations if isinstance(a.geometry, TextSpan) and a.geometry.start < len(text)]
    spans.sort(key=lambda pair: pair[0].start - pair[0].end)  # the longest first
    borders = sorted({0, len(text)} | {min(at, len(text)) for span, _ in spans for at in (span.start, span.end)})
    return [
        Piece(
            text=text[start:end],
            over=tuple(a for span, a in spans if span.start <= start and end <= span.end),
            ends=tuple(a for span, a in spans if span.start < end == min(span.end, len(text))),
        )
        for start, end in pairwise(borders)
    ]


def words(annotations: Sequence[Annotation]) -> list[Word]:
    """What was heard, in the order in which it was said: the labels with text that no other label was cut into."""
    parents = {annotation.parent_id for annotation in annotations}
    leaves = [
        Word(text=a.text.strip(), annotation=a, span=a.geometry if isinstance(a.geometry, TimeSpan) else None)
        for a in annotations
        if a.text and a.id not in parents
    ]
    return sorted(leaves, key=lambda word: word.span.start_s if word.span else 0.0)
