"""Builds predictions to calibrate; every argument has a value that does not matter."""

from __future__ import annotations

from models.types import Annotation, Box, Geometry, TimeSpan


def a_box(annotation_id: str = "0", *, label: str = "cat", score: float = 0.75, p: float | None = None) -> Annotation:
    return an_annotation(annotation_id, label=label, score=score, p=p, geometry=Box(xyxy=(1.0, 2.0, 30.5, 40.0)))


def a_word(annotation_id: str, *, score: float, text: str = "word", parent_id: str | None = "0") -> Annotation:
    return an_annotation(
        annotation_id,
        label="word",
        score=score,
        text=text,
        parent_id=parent_id,
        geometry=TimeSpan(start_s=0.0, end_s=0.5),
    )


def an_annotation(
    annotation_id: str,
    *,
    geometry: Geometry,
    label: str = "cat",
    score: float = 0.75,
    p: float | None = None,
    text: str | None = None,
    parent_id: str | None = None,
) -> Annotation:
    return Annotation(
        id=annotation_id, label=label, geometry=geometry, score=score, confidence=p, text=text, parent_id=parent_id
    )
