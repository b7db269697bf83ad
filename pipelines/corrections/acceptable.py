"""States how far a pre-label may be from what is right and still be acceptable, and measures that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, assert_never

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from models.errors import ConfigError
from models.types import Annotation, Box, Task
from pipelines.corrections.matching import FOREGROUND_IOU, Matching, matching_at
from pipelines.corrections.overlap import Kind, extents, kind_of
from pipelines.corrections.transcript import Edit, Levels, Transcript, alignment, transcripts, wer


@dataclass(frozen=True, kw_only=True)
class Acceptable:
    """What a pre-label may be off by. ``ACCEPTABLE`` has the defaults of each task.

    Attributes:
        iou: how much a box, or in segmentation a mask, must overlap what is right. Text spans must be exact.
        wer: the word error rate up to which a transcript is acceptable.
        graded: whether ``loss`` counts how wrong a pre-label is, and not just whether it is.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    iou: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    wer: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    graded: bool = False

    @property
    def id(self) -> str:
        return "acceptable-" + hashlib.sha256(_ACCEPTABLE.dump_json(self)).hexdigest()[:12]

    @staticmethod
    def of(task: Task, said: Mapping[str, object] | None = None) -> Acceptable:
        """The task's defaults, but for what is said.

        Raises:
            ConfigError: what is said is none of the attributes, or out of range.
        """
        try:
            return _ACCEPTABLE.validate_python(asdict(ACCEPTABLE[task]) | dict(said or {}))
        except ValidationError as err:
            details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors())
            raise ConfigError(f"what is acceptable for {task} is iou, wer and graded; {details}") from err


_ACCEPTABLE = TypeAdapter(Acceptable)

ACCEPTABLE: dict[Task, Acceptable] = {
    "detection": Acceptable(iou=FOREGROUND_IOU),
    "segmentation": Acceptable(iou=0.8),
    "ner": Acceptable(iou=1.0),
    "speech": Acceptable(wer=0.0),
}


def loss(task: Task, predicted: Sequence[Annotation], right: Sequence[Annotation], acceptable: Acceptable) -> float:
    """How bad it would be to take the pre-label as it stands: 0 acceptable, 1 not; in between only where it is graded.

    detection, segmentation, ner: 0 if every annotation has its own counterpart with the same label (boxes and masks at
    the IoU, text spans exactly) and none is missing, else 1; graded 1 − F1 of these. speech: 1 if the word error rate
    is above the acceptable one, else 0; graded min(1, WER). Words are compared without case and punctuation.

    Ids, scores and attributes do not count, nor does the order. Boxes in segmentation are the way to their masks: they
    count, at an IoU of 0.5, only where both sides have boxes or neither has an area.
    """
    if task == "speech":
        ours, theirs = transcripts(predicted, right)
        rate = wer(ours.words, theirs.words)
        return min(1.0, rate) if acceptable.graded else float(rate > acceptable.wer)
    found = list(_judged(task, predicted, right, acceptable))
    true = sum(len(one.pairs) for one in found)
    false = sum(len(one.predicted_alone) for one in found)
    missed = sum(len(one.right_alone) for one in found)
    if not acceptable.graded:
        return float(false + missed > 0)
    return 1.0 - 2 * true / (2 * true + false + missed) if false + missed else 0.0


def right_ones(
    task: Task, predicted: Sequence[Annotation], right: Sequence[Annotation], acceptable: Acceptable
) -> tuple[bool, ...]:
    """Which of the pre-label's annotations are right, each by itself: what its score should have foretold.

    detection, segmentation, ner: it has a counterpart of its own, as in ``loss``; of two for one thing only one is
    right. In segmentation boxes and masks are judged apart; where the human's answer has areas and no boxes, boxes are
    held against the areas' extents. speech: all its words are right after alignment, and for a segment no word is
    missing in it; a word that is missing between two segments counts against the earlier one.
    """
    if task == "speech":
        return _rightly_heard(predicted, right)
    is_right = [False] * len(predicted)
    for kind in ("whole", "box", "area", "text"):
        ours, theirs = _of_kind(predicted, kind), _of_kind(right, kind)
        answers = [right[place] for place in theirs]
        areas = _of_kind(right, "area")
        if task == "segmentation" and kind == "box" and not theirs and areas:
            answers = _as_boxes([right[place] for place in areas])
        found = matching_at([predicted[place] for place in ours], answers, iou=_iou(task, kind, acceptable))
        for pair in found.pairs:
            is_right[ours[pair.predicted]] = True
    return tuple(is_right)


def _judged(
    task: Task, predicted: Sequence[Annotation], right: Sequence[Annotation], acceptable: Acceptable
) -> Iterator[Matching]:
    """The matchings of all kinds that count."""
    kinds_of: list[set[Kind]] = [{kind_of(one.geometry) for one in side} for side in (predicted, right)]
    kinds = kinds_of[0] | kinds_of[1]
    if task == "segmentation" and "area" in kinds and not all("box" in found for found in kinds_of):
        kinds.discard("box")
    for kind in sorted(kinds):
        yield matching_at(
            [one for one in predicted if kind_of(one.geometry) == kind],
            [one for one in right if kind_of(one.geometry) == kind],
            iou=_iou(task, kind, acceptable),
        )


def _iou(task: Task, kind: Kind, acceptable: Acceptable) -> float:
    match kind:
        case "box":
            return FOREGROUND_IOU if task == "segmentation" else acceptable.iou
        case "area":
            return acceptable.iou
        case "text" | "whole" | "time":
            return 1.0
        case _:
            assert_never(kind)


def _of_kind(annotations: Sequence[Annotation], kind: Kind) -> list[int]:
    return [place for place, one in enumerate(annotations) if kind_of(one.geometry) == kind]


def _as_boxes(areas: Sequence[Annotation]) -> list[Annotation]:
    boxes = extents([area.geometry for area in areas])
    return [
        Annotation(id=area.id, label=area.label, score=area.score, geometry=Box(xyxy=(x1, y1, x2, y2)))
        for area, (x1, y1, x2, y2) in zip(areas, boxes.tolist(), strict=True)
    ]


def _rightly_heard(predicted: Sequence[Annotation], right: Sequence[Annotation]) -> tuple[bool, ...]:
    """Each level of the pre-label against what the human says."""
    is_right = [True] * len(predicted)
    levels, (_, theirs) = Levels.of(predicted), transcripts(predicted, right)
    for places, is_whole in ((levels.segments, True), (levels.words, False)):
        ours = Transcript.of(predicted, places)
        for edit in alignment(ours.words, theirs.words):
            for place in _blamed(edit, ours, places, is_whole=is_whole):
                is_right[place] = False
    return tuple(is_right)


def _blamed(edit: Edit, ours: Transcript, places: Sequence[int], *, is_whole: bool) -> Sequence[int]:
    """The annotations that an edit makes wrong."""
    start, end = edit.predicted
    match edit.change:
        case "equal":
            return ()
        case "substitute" | "insert":
            return ours.owners[start:end]
        case "delete":
            if not is_whole or not places:
                return ()
            return ours.owners[max(start - 1, 0) : max(start, 1)] or places[:1]
        case _:
            assert_never(edit.change)
