"""Says what a human changed in a pre-label: how much, of what kind, and about how long that takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from models.types import Annotation, Task
from pipelines.corrections.acceptable import ACCEPTABLE, Acceptable, right_ones
from pipelines.corrections.errors import errors
from pipelines.corrections.matching import Matching, is_same, is_same_place, matching
from pipelines.corrections.overlap import Kind, kind_of
from pipelines.corrections.transcript import alignment, transcripts, wer

# Seconds for drawing one: assumptions to compare pre-labels by, measured on nobody here. Box: extreme clicking
# (Papadopoulos et al. 2017, arXiv:1708.02750). Area: with a model's help (Kirillov et al. 2023, Segment Anything,
# section 4). The rest is ours: marking a span, typing a word (40 a minute), choosing a label or deleting.
_DRAW_S: dict[Kind, float] = {"box": 7.0, "area": 14.0, "text": 3.0, "time": 0.0, "whole": 1.0}
_WORD_S = 1.5
_CHOOSE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """What became of the annotations of one class.

    ``unchanged``, ``edited`` and ``rejected`` count the pre-label's of this class, ``added`` the human's. ``right`` and
    ``wrong`` count the pre-label's, too, by what is acceptable; ``missed`` the human's that no right one stands for.
    """

    unchanged: int = 0
    edited: int = 0
    rejected: int = 0
    added: int = 0
    right: int = 0
    wrong: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What separates a pre-label from the human's answer.

    Attributes:
        unchanged: annotations that are as they were (``is_same``).
        edited: those that have a successor with another label, place, text or language.
        rejected: those of the pre-label without one.
        added: those of the answer that succeed none.
        iou: the mean of the matched boxes and areas, in (0, 1]; None where there are none.
        span_f1: F1 of exact spans with their labels, for ner; 1 where neither side has any.
        wer: word error rate, for speech; see ``transcript.wer``.
        errors: how often each type of error occurs, see ``errors.ERRORS``.
        by_label: class by class.
        cost: about how many seconds of work turn one into the other. A proxy: drawing a box 7 s, an area 14 s, marking
            a text span 3 s, typing a word 1.5 s, choosing a label or deleting 1 s. What is moved is drawn anew; in
            segmentation a box costs nothing where there are areas.
    """

    unchanged: int
    edited: int
    rejected: int
    added: int
    iou: float | None
    span_f1: float | None
    wer: float | None
    errors: dict[str, int] = field(default_factory=dict)
    by_label: dict[str, LabelCounts] = field(default_factory=dict)
    cost: float

    @property
    def is_untouched(self) -> bool:
        """Whether the human changed nothing."""
        return self.edited + self.rejected + self.added == 0


def correction(
    task: Task,
    predicted: Sequence[Annotation],
    right: Sequence[Annotation],
    *,
    acceptable: Acceptable | None = None,
) -> Correction:
    """What turns the pre-label's annotations into the human's.

    unchanged + edited + rejected = predicted, and unchanged + edited + added = right.

    Args:
        acceptable: from where on a box or a mask is in the wrong place; the task's default if None.
    """
    acceptable = acceptable or ACCEPTABLE[task]
    matched = matching(predicted, right)
    is_edited = [not is_same(predicted[pair.predicted], right[pair.right]) for pair in matched.pairs]
    overlaps = [pair.iou for pair in matched.pairs if kind_of(right[pair.right].geometry) in ("box", "area")]
    return Correction(
        unchanged=len(is_edited) - sum(is_edited),
        edited=sum(is_edited),
        rejected=len(matched.predicted_alone),
        added=len(matched.right_alone),
        iou=fmean(overlaps) if overlaps else None,
        span_f1=_span_f1(predicted, right) if task == "ner" else None,
        wer=_wer(predicted, right) if task == "speech" else None,
        errors=errors(task, predicted, right, matched, acceptable),
        by_label=_by_label(task, predicted, right, matched, acceptable),
        cost=sum(_costs(task, predicted, right, matched)),
    )


def _span_f1(predicted: Sequence[Annotation], right: Sequence[Annotation]) -> float:
    is_right = right_ones("ner", predicted, right, ACCEPTABLE["ner"])
    return 2 * sum(is_right) / (len(predicted) + len(right)) if predicted or right else 1.0


def _wer(predicted: Sequence[Annotation], right: Sequence[Annotation]) -> float:
    ours, theirs = transcripts(predicted, right)
    return wer(ours.words, theirs.words)


def _by_label(
    task: Task,
    predicted: Sequence[Annotation],
    right: Sequence[Annotation],
    matched: Matching,
    acceptable: Acceptable,
) -> dict[str, LabelCounts]:
    counts = {one.label: LabelCounts() for one in (*predicted, *right)}

    def count(label: str, name: str) -> None:
        counts[label] = replace(counts[label], **{name: getattr(counts[label], name) + 1})

    for pair in matched.pairs:
        ours, theirs = predicted[pair.predicted], right[pair.right]
        count(ours.label, "unchanged" if is_same(ours, theirs) else "edited")
    for place in matched.predicted_alone:
        count(predicted[place].label, "rejected")
    for place in matched.right_alone:
        count(right[place].label, "added")
    for one, is_right in zip(predicted, right_ones(task, predicted, right, acceptable), strict=True):
        count(one.label, "right" if is_right else "wrong")
    for one, is_found in zip(right, right_ones(task, right, predicted, acceptable), strict=True):
        if not is_found:
            count(one.label, "missed")
    return dict(sorted(counts.items()))


def _costs(
    task: Task, predicted: Sequence[Annotation], right: Sequence[Annotation], matched: Matching
) -> Iterator[float]:
    has_areas = any(kind_of(one.geometry) == "area" for one in (*predicted, *right))

    def draw_s(one: Annotation) -> float:
        kind = kind_of(one.geometry)
        return 0.0 if task == "segmentation" and kind == "box" and has_areas else _DRAW_S[kind]

    def choose_s(one: Annotation) -> float:
        return _CHOOSE_S if draw_s(one) else 0.0

    for pair in matched.pairs:
        ours, theirs = predicted[pair.predicted], right[pair.right]
        yield choose_s(theirs) if ours.label != theirs.label else 0.0
        yield 0.0 if is_same_place(ours, theirs) else draw_s(theirs)
    yield from (choose_s(predicted[place]) for place in matched.predicted_alone)
    yield from (draw_s(right[place]) + choose_s(right[place]) for place in matched.right_alone)
    if task == "speech":
        ours, theirs = transcripts(predicted, right)
        yield from (_WORD_S * e.words for e in alignment(ours.words, theirs.words) if e.change != "equal")
