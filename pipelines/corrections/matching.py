"""Matches the annotations of a pre-label to those of a human, one to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.types import Annotation, Box, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.corrections.overlap import Pair, kind_of, overlapping

# What separates a box that found its object from one that found something: the foreground and background thresholds of
# TIDE (Bolya et al. 2020, arXiv:2008.08115, section 2.2).
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1

# What no hand moved: tools that keep shares of the picture, or whole milliseconds, give coordinates back rounded.
_STILL_PX, _STILL_S = 0.5, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Who belongs to whom: pairs, and the places of those that are left on either side."""

    pairs: tuple[Pair, ...]
    predicted_alone: tuple[int, ...]
    right_alone: tuple[int, ...]


def matching(predicted: Sequence[Annotation], right: Sequence[Annotation]) -> Matching:
    """Match what may have become what under a reviewer's hand, whatever the labels.

    Greedy. First those that agree in their label and overlap by half or more, then the rest, the larger overlap first.
    Among equals those whose labels, geometries, texts and ids agree come first, so that an annotation with the id and
    the content that it had is its own successor. Boxes, areas and time spans must overlap by a tenth; text spans by a
    character; time spans with different labels by half, since words lie within segments.
    """
    candidates = [pair for pair in overlapping(predicted, right, min_iou=0.0) if _may_be(pair, predicted, right)]
    return _greedy(candidates, predicted, right)


def matching_at(predicted: Sequence[Annotation], right: Sequence[Annotation], *, iou: float) -> Matching:
    """Match what agrees in its label and overlaps by ``iou`` or more; greedy, the larger overlap first."""
    candidates = [
        pair
        for pair in overlapping(predicted, right, min_iou=iou)
        if predicted[pair.predicted].label == right[pair.right].label
    ]
    return _greedy(candidates, predicted, right)


def is_same(predicted: Annotation, right: Annotation) -> bool:
    """Whether label, place (within half a pixel or 10 ms), text and, where both name one, language are as they were.

    Scores and other attributes are the model's own notes, which a human's answer may leave out. A text span's text is
    that of its place.
    """
    languages = {str(one.attributes["language"]) for one in (predicted, right) if "language" in one.attributes}
    return (
        predicted.label == right.label
        and is_same_place(predicted, right)
        and (kind_of(right.geometry) == "text" or (predicted.text or "") == (right.text or ""))
        and len(languages) <= 1
    )


def is_same_place(predicted: Annotation, right: Annotation) -> bool:
    """Whether two geometries are the same but for rounding."""
    match predicted.geometry, right.geometry:
        case Box(xyxy=ours), Box(xyxy=theirs):
            return _are_near(ours, theirs, _STILL_PX)
        case Polygon(points_xy=ours), Polygon(points_xy=theirs):
            flat = [value for point in ours for value in point], [value for point in theirs for value in point]
            return len(ours) == len(theirs) and _are_near(*flat, _STILL_PX)
        case TimeSpan() as ours, TimeSpan() as theirs:
            return _are_near((ours.start_s, ours.end_s), (theirs.start_s, theirs.end_s), _STILL_S)
        case ours, theirs:
            return ours == theirs


def _are_near(ours: Sequence[float], theirs: Sequence[float], distance: float) -> bool:
    return all(abs(a - b) <= distance for a, b in zip(ours, theirs, strict=True))


def _may_be(pair: Pair, predicted: Sequence[Annotation], right: Sequence[Annotation]) -> bool:
    kind = kind_of(right[pair.right].geometry)
    if kind == "text":
        return True
    is_relabelled = predicted[pair.predicted].label != right[pair.right].label
    return pair.iou >= (FOREGROUND_IOU if kind == "time" and is_relabelled else BACKGROUND_IOU)


def _greedy(candidates: list[Pair], predicted: Sequence[Annotation], right: Sequence[Annotation]) -> Matching:
    candidates.sort(key=_urgency(predicted, right))
    pairs, ours, theirs = list[Pair](), set(range(len(predicted))), set(range(len(right)))
    for pair in candidates:
        if pair.predicted in ours and pair.right in theirs:
            ours.remove(pair.predicted)
            theirs.remove(pair.right)
            pairs.append(pair)
    return Matching(pairs=tuple(pairs), predicted_alone=tuple(sorted(ours)), right_alone=tuple(sorted(theirs)))


def _urgency(predicted: Sequence[Annotation], right: Sequence[Annotation]) -> Callable[[Pair], tuple[object, ...]]:
    """The order in which pairs are taken. It ends in the ranks of their contents, so that no permutation changes it."""
    our_rank, their_rank = _ranks(predicted), _ranks(right)

    def of(pair: Pair) -> tuple[object, ...]:
        ours, theirs = predicted[pair.predicted], right[pair.right]
        is_other = ours.label != theirs.label
        is_sure = pair.iou >= FOREGROUND_IOU and not is_other
        differs = (is_other, ours.geometry != theirs.geometry, ours.text != theirs.text, ours.id != theirs.id)
        return not is_sure, -pair.iou, *differs, our_rank[pair.predicted], their_rank[pair.right]

    return of


def _ranks(annotations: Sequence[Annotation]) -> list[int]:
    """The place of each in an order that depends on contents, and on ids among equal ones."""
    order = sorted(range(len(annotations)), key=lambda place: _content(annotations[place]))
    ranks = [0] * len(annotations)
    for rank, place in enumerate(order):
        ranks[place] = rank
    return ranks


def _content(annotation: Annotation) -> tuple[object, ...]:
    return annotation.geometry.kind, _numbers(annotation), annotation.label, annotation.text or "", annotation.id


def _numbers(annotation: Annotation) -> tuple[object, ...]:
    match annotation.geometry:
        case Box(xyxy=xyxy):
            return xyxy
        case Polygon(points_xy=points):
            return points
        case Mask(size_hw=size_hw, counts=counts):
            return size_hw, counts
        case TextSpan(start=start, end=end):
            return start, end
        case TimeSpan(start_s=start_s, end_s=end_s):
            return start_s, end_s
        case WholeItem():
            return ()
