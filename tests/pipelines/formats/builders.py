"""Builds results to write out."""

from __future__ import annotations

from datetime import UTC, datetime

from models.types import Annotation, Box, Geometry, Task
from pipelines.formats.results import Result
from pipelines.types import Decision, Failure, Provenance, Route


def an_annotation(
    id: str = "0",
    *,
    label: str = "circle",
    geometry: Geometry | None = None,
    score: float = 0.9,
    confidence: float | None = None,
    text: str | None = None,
    parent_id: str | None = None,
) -> Annotation:
    return Annotation(
        id=id,
        label=label,
        geometry=geometry or Box(xyxy=(10.0, 20.0, 40.0, 60.0)),
        score=score,
        confidence=confidence,
        text=text,
        parent_id=parent_id,
    )


def a_result(
    id: str = "image.png",
    *annotations: Annotation,
    task: Task = "detection",
    route: Route = "review",
    reason: str = "circle #0 scored 0.50, below 0.60",
    threshold: float | None = 0.6,
    uncertainty: dict[str, float] | None = None,
    confidence: float | None = None,
) -> Result:
    return Result(
        id=id,
        task=task,
        status="labels" if annotations else "nothing_found",
        annotations=annotations,
        confidence=confidence,
        calibrated=confidence is not None,
        uncertainty={"miss_risk": 0.2} if uncertainty is None else uncertainty,
        decision=Decision(
            route=route,
            queue=None if route == "accept" else "images",
            reason=reason,
            policy_id="thresholds-1",
            threshold=threshold,
            propensity=0.0 if route == "accept" else 1.0,
            draw=None,
        ),
        provenance=Provenance(
            model="detector",
            model_version="2",
            weights_digest="0123456789abcdef",
            config_digest="fedcba",
            calibration_id=None,
            policy_id="thresholds-1",
            item_digest="aa",
            created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            chain=("detector@2:0123456789ab",),
        ),
    )


def a_failure(
    id: str = "broken.png",
    *,
    task: Task = "detection",
    message: str = "the image is damaged",
    code: str = "unreadable_image",
) -> Result:
    return Result(id=id, task=task, status="failed", error=Failure(code=code, message=message))
