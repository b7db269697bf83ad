"""Builds outcomes for tests; every argument has a value that does not matter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from models.types import Annotation, Box, Item, Prediction, Task
from pipelines.types import Decision, Failed, Failure, Labelled, PreLabel, Provenance, Route

A_MOMENT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def an_item(item_id: str = "one", *, text: str | None = None) -> Item:
    if text is not None:
        return Item(id=item_id, media="text", text=text)
    return Item(id=item_id, media="image", uri=f"file:///drop/{item_id}.png", meta={"source": "cam1"})


def an_annotation(annotation_id: str = "0", *, label: str = "cat", score: float = 0.75) -> Annotation:
    return Annotation(id=annotation_id, label=label, geometry=Box(xyxy=(1.0, 2.0, 30.5, 40.0)), score=score)


def a_pre_label(
    *annotations: Annotation,
    uncertainty: float = 0.5,
    signals: dict[str, float] | None = None,
    confidence: float | None = None,
) -> PreLabel:
    provenance = Provenance(
        model="detector",
        model_version="1",
        weights_digest="ab" * 32,
        config_digest="cd" * 32,
        chain=("detector@1:abababababab",),
        calibration_id=None,
        policy_id="thresholds-1",
        item_digest="ef" * 32,
        created_at=A_MOMENT,
    )
    return PreLabel(
        prediction=Prediction(annotations=annotations, signals=signals or {"no_miss": 0.9}),
        confidence=confidence,
        calibrated=confidence is not None,
        uncertainty={"entropy": uncertainty, "margin": uncertainty / 2},
        provenance=provenance,
    )


def a_decision(route: Route = "accept", *, queue: str | None = "boxes", reason: str = "a reason") -> Decision:
    return Decision(
        route=route,
        queue=None if route == "accept" else queue,
        reason=reason,
        policy_id="thresholds-1",
        threshold=0.8,
        propensity=0.0 if route == "accept" else 1.0,
        draw=None,
    )


def a_labelled(
    item_id: str = "one",
    *,
    route: Route = "accept",
    queue: str = "boxes",
    task: Task = "detection",
    uncertainty: float = 0.5,
    pre_label: PreLabel | None = None,
    item: Item | None = None,
    is_blind: bool = False,
) -> Labelled:
    return Labelled(
        item=item or an_item(item_id),
        task=task,
        pre_label=pre_label or a_pre_label(an_annotation(), uncertainty=uncertainty),
        decision=replace(a_decision(route, queue=queue), is_blind=is_blind),
    )


def a_failed(
    item_id: str = "one", *, code: str = "unreadable_image", task: Task = "detection", item: Item | None = None
) -> Failed:
    return Failed(item=item or an_item(item_id), task=task, failure=Failure(code=code, message="a message"))
