"""Sorts what was wrong with a pre-label into the types of errors of its task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from models.types import Annotation, Task
from pipelines.corrections.acceptable import Acceptable
from pipelines.corrections.matching import FOREGROUND_IOU, Matching
from pipelines.corrections.overlap import Pair, coverage, kind_of, overlapping
from pipelines.corrections.transcript import Edit, alignment, transcripts, words_of

# Detection after TIDE (Bolya et al. 2020), the others in its manner.
ERRORS: dict[Task, tuple[str, ...]] = {
    "detection": ("missed", "spurious", "class", "location", "duplicate", "class_and_location"),
    "segmentation": ("missed", "spurious", "class", "boundary", "merge", "split"),
    "ner": ("missed", "spurious", "type", "boundary", "type_and_boundary"),
    "speech": ("substitution", "deletion", "insertion", "hallucination", "language", "punctuation"),
}

_MOSTLY = 0.5  # of an area that lies within another
_HALLUCINATED = 4  # words in a row that nobody said


def errors(
    task: Task,
    predicted: Sequence[Annotation],
    right: Sequence[Annotation],
    matching: Matching,
    acceptable: Acceptable,
) -> dict[str, int]:
    """How often each type of error of the task occurs, in the order of ``ERRORS``; what does not occur is left out.

    detection: a pair with another label is class, one that overlaps by less than the acceptable IoU is location; a box
    without a counterpart is a duplicate where a right one of its label is taken already, else spurious; a right one
    without a counterpart is missed.
    segmentation: of the areas. A pair may be class and boundary (below the acceptable IoU) at once. A right area
    without a counterpart of which most lies in a predicted one of its label that is another's is a merge, else missed;
    a predicted one of which most lies in a right one that is another's, without that other, is a split, else spurious.
    Boxes are counted only where there are no areas.
    ner: a pair with another label is type, with another place boundary.
    speech: words that differ, are missing or too much; four or more in a row that nobody said are hallucination, not
    insertion, which a text alone cannot tell for sure. language: segments where both name one and they differ; other
    errors of language look like substitutions. punctuation: words that differ in case or punctuation alone; a stop that
    stands apart, or a hyphen in place of a space, is not seen.
    """
    match task:
        case "detection":
            found = _of_boxes(predicted, right, matching, acceptable.iou, "location", "class_and_location")
        case "segmentation":
            found = _of_areas(predicted, right, matching, acceptable.iou)
        case "ner":
            found = _of_spans(predicted, right, matching)
        case "speech":
            found = _of_speech(predicted, right, matching)
    return {name: found[name] for name in ERRORS[task] if found[name]}


def _of_boxes(
    predicted: Sequence[Annotation],
    right: Sequence[Annotation],
    matching: Matching,
    iou: float,
    misplaced: str,
    both: str,
) -> Counter[str]:
    names = {(False, True): misplaced, (True, False): "class", (True, True): both}
    found = Counter[str](
        names[is_other, pair.iou < iou]
        for pair in matching.pairs
        if (is_other := _is_other(pair, predicted, right)) or pair.iou < iou
    )
    taken = {pair.right for pair in matching.pairs if not _is_other(pair, predicted, right) and pair.iou >= iou}
    doubles = {
        pair.predicted
        for pair in overlapping(predicted, right, min_iou=iou)
        if pair.right in taken and not _is_other(pair, predicted, right)
    }
    found["duplicate"] = len(doubles.intersection(matching.predicted_alone))
    found["spurious"] = len(matching.predicted_alone) - found["duplicate"]
    found["missed"] = len(matching.right_alone)
    return found


def _of_areas(
    predicted: Sequence[Annotation], right: Sequence[Annotation], matching: Matching, iou: float
) -> Counter[str]:
    def is_area(one: Annotation) -> bool:
        return kind_of(one.geometry) == "area"

    if not any(map(is_area, (*predicted, *right))):
        found = _of_boxes(predicted, right, matching, FOREGROUND_IOU, "boundary", "class_and_location")
        found["class"] += found["class_and_location"]
        found["boundary"] += found["class_and_location"]
        found["spurious"] += found["duplicate"]
        return found
    found = Counter[str]()
    pairs = [pair for pair in matching.pairs if is_area(right[pair.right])]
    found["class"] = sum(_is_other(pair, predicted, right) for pair in pairs)
    found["boundary"] = sum(pair.iou < iou for pair in pairs)
    ours = [place for place in matching.predicted_alone if is_area(predicted[place])]
    theirs = [place for place in matching.right_alone if is_area(right[place])]
    found["merge"] = _merged(predicted, right, pairs, theirs)
    found["split"] = _split(predicted, right, pairs, ours)
    found["missed"], found["spurious"] = len(theirs) - found["merge"], len(ours) - found["split"]
    return found


def _merged(
    predicted: Sequence[Annotation], right: Sequence[Annotation], pairs: Sequence[Pair], alone: Sequence[int]
) -> int:
    """How many right areas without a counterpart lie in a predicted one of their label that is another's."""
    covering = [predicted[pair.predicted] for pair in pairs]
    return int(_lies_in([right[place] for place in alone], covering).any(axis=1).sum())


def _split(
    predicted: Sequence[Annotation], right: Sequence[Annotation], pairs: Sequence[Pair], alone: Sequence[int]
) -> int:
    """How many predicted areas without a counterpart are a further piece of a right one."""
    pieces = [predicted[place] for place in alone]
    is_in_right = _lies_in(pieces, [right[pair.right] for pair in pairs])
    is_in_first = _lies_in(pieces, [predicted[pair.predicted] for pair in pairs])
    return int((is_in_right & ~is_in_first).any(axis=1).sum())


def _lies_in(covered: Sequence[Annotation], covering: Sequence[Annotation]) -> np.ndarray:
    """Whether most of each lies in each other of the same label: (n, m) bool."""
    shares = coverage([one.geometry for one in covered], [one.geometry for one in covering])
    is_like = [[a.label == b.label for b in covering] for a in covered]
    return (shares >= _MOSTLY) & np.array(is_like, dtype=bool).reshape(shares.shape)


def _of_spans(predicted: Sequence[Annotation], right: Sequence[Annotation], matching: Matching) -> Counter[str]:
    names = {(False, True): "boundary", (True, False): "type", (True, True): "type_and_boundary"}
    found = Counter[str]()
    for pair in matching.pairs:
        ours, theirs = predicted[pair.predicted], right[pair.right]
        if name := names.get((ours.label != theirs.label, ours.geometry != theirs.geometry)):
            found[name] += 1
    found["spurious"], found["missed"] = len(matching.predicted_alone), len(matching.right_alone)
    return found


def _of_speech(predicted: Sequence[Annotation], right: Sequence[Annotation], matching: Matching) -> Counter[str]:
    ours, theirs = transcripts(predicted, right)
    found = Counter[str]()
    for edit in alignment(ours.words, theirs.words):
        if name := _name(edit):
            found[name] += edit.words
    for pair in matching.pairs:
        spoken = {one.attributes.get("language") for one in (predicted[pair.predicted], right[pair.right])} - {None}
        found["language"] += len(spoken) > 1
    found["punctuation"] = _repunctuated(
        [predicted[place].text or "" for place in dict.fromkeys(ours.owners)],
        [right[place].text or "" for place in dict.fromkeys(theirs.owners)],
    )
    return found


def _name(edit: Edit) -> str | None:
    match edit.change:
        case "equal":
            return None
        case "substitute":
            return "substitution"
        case "delete":
            return "deletion"
        case "insert":
            return "hallucination" if edit.words >= _HALLUCINATED else "insertion"


def _repunctuated(predicted: Sequence[str], right: Sequence[str]) -> int:
    """How many words, as they are written, differ in case or punctuation alone."""
    ours, theirs = " ".join(predicted).split(), " ".join(right).split()
    return sum(
        words_of(a) == words_of(b)
        for edit in alignment(ours, theirs)
        if edit.change == "substitute"
        for a, b in zip(ours[slice(*edit.predicted)], theirs[slice(*edit.right)], strict=True)
    )


def _is_other(pair: Pair, predicted: Sequence[Annotation], right: Sequence[Annotation]) -> bool:
    return predicted[pair.predicted].label != right[pair.right].label
