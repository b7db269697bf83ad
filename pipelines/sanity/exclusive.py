"""Holds the rule about labels that exclude each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.types import Annotation, Box, Geometry
from pipelines.sanity.boxes import real
from pipelines.sanity.draft import Draft, Row, rank
from pipelines.sanity.overlaps import alike, numbered


def contradictions(draft: Draft) -> None:
    for sides in draft.exclusive:
        found = _on_one_place(draft, sides) + _on_like_boxes(draft, sides)
        for place, annotation, better in sorted(found, key=lambda pair: pair[0]):
            message = f"{annotation.label!r} excludes {better.label!r}, which #{better.id} says of the same thing"
            draft.remove("exclusive_labels", place, message, is_covered=True)


def _on_one_place(draft: Draft, sides: Mapping[str, str]) -> list[tuple[int, Annotation, Annotation]]:
    """The weaker of labels on the whole item, or on one and the same geometry, with the strongest."""
    best, found = dict[tuple[str | None, Geometry], Annotation](), list[tuple[int, Annotation, Annotation]]()
    for place, annotation in sorted(draft.annotations.items(), key=lambda placed: rank(placed[1])):
        if annotation.label not in sides or isinstance(annotation.geometry, Box):
            continue
        better = best.setdefault((annotation.parent_id, annotation.geometry), annotation)
        if sides[better.label] != sides[annotation.label]:
            found.append((place, annotation, better))
    return found


def _on_like_boxes(draft: Draft, sides: Mapping[str, str]) -> list[tuple[int, Annotation, Annotation]]:
    """The weaker of labels on boxes so alike that they mark one object."""
    rows, boxes = real([row for row in draft.rivals(Box) if row.annotation.label in sides])
    side_of = numbered([sides[row.annotation.label] for row in rows])
    one_group = np.zeros(len(rows), dtype=np.int64)
    found = alike(boxes, one_group, min_iou=draft.rules.duplicate_iou, sides=side_of)
    return [_pair(rows[weaker], rows[better]) for weaker, better in found.items()]


def _pair(weaker: Row[Box], better: Row[Box]) -> tuple[int, Annotation, Annotation]:
    return weaker.place, weaker.annotation, better.annotation
