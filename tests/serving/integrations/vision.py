"""Answers, in place of the service, what an image's size says: easy to foresee, and only from the image itself."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from models.geometry import encode_mask
from models.types import Annotation, Box, Polygon, WholeItem
from pipelines.formats.results import RESULT, Result
from pipelines.types import Decision, Failure
from tests.serving.client.faulty import Got

DECISION = Decision(route="review", queue="images", reason="r", policy_id="p", threshold=0.5, propensity=1.0, draw=None)


def hidden(result: Result) -> Result:
    """The result, decided such that whoever labels the item must not see it."""
    return replace(result, decision=replace(result.decision or DECISION, route="audit", is_blind=True))


def seen(got: Got) -> Any:
    """The service's answer: a box over the left half, and for segmentation its mask; nothing in a black image."""
    return {"results": [RESULT.dump_python(_result(item, got), mode="json") for item in got.body["items"]]}


def _result(item: dict[str, Any], got: Got) -> Result:
    try:
        with Image.open(BytesIO(got.parts[item["part"]])) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError):
        failure = Failure(code="unreadable_image", message="the image cannot be read")
        return Result(id=item["id"], task=item["task"], status="failed", error=failure)
    annotations = tuple(_annotations(pixels, item["task"])) if pixels.any() else ()
    return Result(
        id=item["id"],
        task=item["task"],
        status="labels" if annotations else "nothing_found",
        annotations=annotations,
        confidence=0.75,
        calibrated=True,
        uncertainty={"least_confidence": 0.25, "margin": 0.5},
        size_hw=(pixels.shape[0], pixels.shape[1]),
        decision=DECISION,
    )


def _annotations(pixels: np.ndarray, task: str) -> list[Annotation]:
    height, width = pixels.shape[:2]
    box = Annotation(id="0", label="dog", geometry=Box(xyxy=(0, 0, width / 2, height)), score=0.5, confidence=0.625)
    if task == "detection":
        low = Annotation(id="1", label="cat", geometry=Box(xyxy=(0, 0, width, height / 4)), score=0.125)
        return [box, low]
    bitmap = np.zeros((height, width), bool)
    bitmap[: height // 2, : width // 2] = np.tri(height // 2, width // 2, dtype=bool)
    ring = ((0.0, 0.0), (float(width), 0.0), (0.0, float(height)))
    return [
        box,
        Annotation(id="m", label="dog", geometry=encode_mask(bitmap), score=0.5, parent_id="0"),
        Annotation(id="p", label="road", geometry=Polygon(points_xy=ring), score=0.25),
        Annotation(id="w", label="indoor", geometry=WholeItem(), score=1.0),
    ]
