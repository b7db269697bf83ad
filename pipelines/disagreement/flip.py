"""Asks a detector about the mirrored image, and measures how far its boxes stay where they were."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from models.errors import ItemError
from models.geometry import iou
from models.media import MediaLimits, decode
from models.types import Annotation, Box, Content, ImagePayload, Prediction, Priority, Prompts
from pipelines.disagreement.agreement import boxes_of, pairs

if TYPE_CHECKING:
    from pipelines.disagreement.disagreement import Predicts

_BASE_POINT = 1.3  # CALD's β, cald_train.py, --bp


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Mirrors the image from left to right; what is found in it is mirrored back."""

    detector: str
    media: MediaLimits = field(default_factory=MediaLimits)

    async def measure(
        self,
        content: Content,
        prediction: Prediction,
        models: Predicts,
        *,
        priority: Priority,
        deadline_s: float | None,
    ) -> dict[str, float]:
        """The entries of ``flip_doubts``; none where the caller's prompts stand in for the detector."""
        if content.prompts.boxes or content.prompts.points:
            return {}
        mirrored, width = await asyncio.to_thread(flipped, content, self.media)
        answer = await models.predict(self.detector, mirrored, priority=priority, deadline_s=deadline_s)
        return flip_doubts(prediction, flipped_back(answer, width=width))


def flipped(content: Content, media: MediaLimits) -> tuple[Content, int]:
    """The mirrored image as a PNG, which loses nothing, and its width in pixels.

    Raises:
        ItemError: it is no image, or cannot be decoded.
    """
    from PIL import Image

    payload = decode(content, media)
    if not isinstance(payload, ImagePayload):
        raise ItemError("wrong_media", f"got {type(payload).__name__}; only an image can be mirrored")
    file = BytesIO()
    Image.fromarray(payload.image_rgb[:, ::-1]).save(file, format="PNG", compress_level=1)
    return replace(content, data=file.getvalue(), prompts=Prompts(), digest=None), payload.size_hw[1]


def flipped_back(prediction: Prediction, *, width: int) -> Prediction:
    """The boxes of a mirrored image in the coordinates of the original, whose width is in pixels."""
    return replace(
        prediction,
        annotations=tuple(
            replace(own, geometry=Box(xyxy=(width - x2, y1, width - x1, y2)))
            for own in prediction.annotations
            if isinstance(own.geometry, Box)
            for x1, y1, x2, y2 in [own.geometry.xyxy]
        ),
    )


def flip_doubts(one: Prediction, other: Prediction) -> dict[str, float]:
    """How inconsistent two views of an image are; boxes are paired by IoU, the best first.

    A box's consistency is c = IoU + ½·(1 − JS(p, p'))·(s + s'), in [0, 2], and 0 without a partner: Yu et al. 2022
    (CALD), cald_train.py. An annotation tells one score and no distribution, so p is (s for its label,
    1 − s for all else).

    Returns:
        flip_location = 1 − mean IoU of the pairs (only where there are any); flip_inconsistency = 1 − min c / 2;
        flip_cald = 1 − min(1, min |c − β|), β = 1.3, as CALD ranks: it prefers boxes that are off by some over those
        that are lost, and takes images where only one view has boxes first. In [0, 1], 1 means "no idea". Two views
        without boxes agree, and have no box that CALD could rank.
    """
    boxes, other_boxes = boxes_of(one)[0], boxes_of(other)[0]
    if not len(boxes) and not len(other_boxes):
        return {"flip_inconsistency": 0.0}
    if not len(boxes) or not len(other_boxes):
        return {"flip_inconsistency": 1.0, "flip_cald": 1.0}
    own, others = (tuple(a for a in view.annotations if isinstance(a.geometry, Box)) for view in (one, other))
    overlap = iou(boxes, other_boxes)
    matched = pairs(overlap)
    consistent = [float(overlap[i, j]) + _class_consistency(own[i], others[j]) for i, j in matched]
    lost = max(len(own), len(others)) > len(matched)
    every = np.array(consistent + [0.0] * lost)
    found = {
        "flip_inconsistency": 1.0 - float(every.min()) / 2.0,
        "flip_cald": 1.0 - min(1.0, float(np.abs(every - _BASE_POINT).min())),
    }
    if not matched:
        return found
    return {"flip_location": 1.0 - float(np.mean([overlap[pair] for pair in matched]))} | found


def _class_consistency(one: Annotation, other: Annotation) -> float:
    """½·(1 − JS(p, p'))·(s + s'), in [0, 1]; JS in nats."""
    labels = sorted({one.label, other.label})
    p, q = ([a.score if a.label == label else 0.0 for label in labels] + [1.0 - a.score] for a in (one, other))
    return 0.5 * (1.0 - _jensen_shannon(np.array(p), np.array(q))) * (one.score + other.score)


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Divergence in nats, in [0, ln 2]; 0 for equal distributions. Lin 1991."""
    middle = np.clip((p + q) / 2.0, 1e-12, 1.0)
    terms = [own * np.log(np.clip(own, 1e-12, 1.0) / middle) for own in (p, q)]
    return max(float(sum(terms).sum()) / 2.0, 0.0)  # pyright: ignore[reportAttributeAccessIssue]
