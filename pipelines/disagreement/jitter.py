"""Asks a segmenter about boxes that are a little off, and measures how far its masks stay the same."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.geometry import mask_ious
from models.types import BoxPrompt, Content, Mask, Prediction, Priority, Prompts
from pipelines.tasks import prompts_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.disagreement.disagreement import Predicts

_ROUNDS = 4
_SHARE = 0.1  # of a side: how far each of its ends moves at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """Moves each edge of each box at random, several times; one call holds all of them, and the boxes as they were.

    The moves depend on the item's bytes alone, so that an item that comes again is measured alike.
    """

    segmenter: str

    async def measure(
        self,
        content: Content,
        prediction: Prediction,
        models: Predicts,
        *,
        priority: Priority,
        deadline_s: float | None,
    ) -> dict[str, float]:
        """jitter_max, jitter_mean = the worst and the mean of 1 − mean IoU of every two masks of a box.

        In [0, 1], 1 means "no idea"; nothing where no boxes prompted the segmenter.
        """
        asked = content.prompts.boxes or ((), prompts_from(prediction).boxes)[not content.prompts.points]
        if not asked:
            return {}
        boxes = jittered(asked, np.random.default_rng(_seed(content)))
        prompted = replace(content, prompts=Prompts(boxes=boxes))
        answer = await models.predict(self.segmenter, prompted, priority=priority, deadline_s=deadline_s)
        doubts = [1.0 - agreed for agreed in _agreements(answer, count=len(asked))]
        return {"jitter_max": max(doubts), "jitter_mean": sum(doubts) / len(doubts)}


def jittered(boxes: Sequence[BoxPrompt], rng: np.random.Generator) -> tuple[BoxPrompt, ...]:
    """The boxes as they are and four times with each edge moved by up to a tenth of the box's side, uniformly.

    Each names as its parent the place of the box that it came from.
    """
    corners = np.array([box.xyxy for box in boxes], dtype=np.float64)
    sides = np.tile(corners[:, 2:] - corners[:, :2], 2)  # (n, 4)
    moved = [corners] + [corners + sides * rng.uniform(-_SHARE, _SHARE, corners.shape) for _ in range(_ROUNDS)]
    return tuple(
        replace(box, xyxy=tuple(xyxy), parent_id=str(place))
        for own in moved
        for place, (box, xyxy) in enumerate(zip(boxes, own.tolist(), strict=True))
    )


def _agreements(answer: Prediction, *, count: int) -> list[float]:
    """Mean IoU of every two masks of each box; a mask that is missing is an empty one, and two of these are equal."""
    masks_of_box = defaultdict[str | None, list[Mask]](list)
    for found in answer.annotations:
        if isinstance(found.geometry, Mask):
            masks_of_box[found.parent_id].append(found.geometry)
    return [_agreement(masks_of_box[str(place)]) for place in range(count)]


def _agreement(masks: Sequence[Mask]) -> float:
    every = _ROUNDS + 1
    missing = every - len(masks)
    overlap = mask_ious(masks, masks)
    shared = (overlap.sum() - np.trace(overlap)) / 2.0 + missing * (missing - 1) / 2.0
    return min(float(shared / (every * (every - 1) / 2.0)), 1.0)


def _seed(content: Content) -> int:
    return int((content.digest or hashlib.sha256(content.data).hexdigest())[:16], 16)
