"""Turns results into the shapes and tags that CVAT's labels take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from models.geometry import decode_mask, mask_box
from models.rings import filled
from models.types import Annotation, Box, Mask, Polygon
from pipelines.formats.exported import certainty, objects
from pipelines.formats.results import Result
from serving.integrations.cvat.label import ANY, Label
from serving.integrations.cvat.mask_code import encoded
from serving.integrations.cvat.polygon import polygon_of

_PLURALS = {
    "box": "boxes",
    "polygon": "polygons",
    "mask": "masks",
    "whole_item": "labels of the whole image",
    "text_span": "spans of text",
    "time_span": "spans of time",
}

ShapeType = Literal["rectangle", "polygon", "mask", "tag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One object, or one tag, as CVAT will store it.

    ``label`` is the function's. ``points`` are pixels: x1, y1, x2, y2 of a rectangle, x, y, … of a polygon, a mask's
    code (mask_code.py), nothing for a tag. ``score`` is the calibrated confidence where there is one, else the model's
    score, in [0, 1]. ``attributes`` holds, by the ids of the label's attributes, values that these take.
    """

    label: Label
    type: ShapeType
    points: tuple[float, ...] = ()
    score: float
    attributes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a caller of CVAT asks for."""

    conf_threshold: float | None = None
    conv_mask_to_poly: bool = False


def shapes(
    result: Result, labels: Mapping[str, Label], *, wanted: Wanted, left_out: Counter[str] | None = None
) -> list[Shape]:
    """A result's objects as shapes that each object's label takes; none of an item that failed, or that is hidden.

    A label of type any takes every shape as it is. For another type a mask becomes its box or a polygon, a polygon its
    box or a mask, a box the polygon of its corners. For a label of type tag an image has one tag, however many objects.

    Args:
        result: what prelabel says of one image.
        labels: by the names that prelabel's models use.
        wanted: objects below the threshold are left out, masks become polygons where that is asked.
        left_out: counts what no shape stands for, in words; a hidden item counts once, whatever is in it.
    """
    left_out = Counter() if left_out is None else left_out
    if result.is_hidden:
        left_out["items to be labelled from nothing"] += 1
        return []
    found = list(_found(result, labels, wanted, left_out))
    best: dict[str, Shape] = {}
    for shape in found:
        if shape.type == "tag" and (shape.label.name not in best or shape.score > best[shape.label.name].score):
            best[shape.label.name] = shape
    return [shape for shape in found if shape.type != "tag" or best[shape.label.name] is shape]


def _found(result: Result, labels: Mapping[str, Label], wanted: Wanted, left_out: Counter[str]) -> Iterator[Shape]:
    for annotation, _ in objects(result):
        label, score = labels.get(annotation.label), _score(annotation)
        if label is None:
            left_out[f"objects of the label '{annotation.label}', which is not asked for"] += 1
        elif wanted.conf_threshold is None or score >= wanted.conf_threshold:
            drawn = _drawn(annotation, _type_of(label, annotation, wanted), result)
            if drawn is None:
                left_out[f"{_PLURALS[annotation.geometry.kind]} where the label takes {label.type}"] += 1
            else:
                yield Shape(
                    label=label, type=drawn[0], points=drawn[1], score=score, attributes=_attributes(annotation, label)
                )


def _score(annotation: Annotation) -> float:
    return min(max(float(certainty(annotation)[0]), 0.0), 1.0)


def _type_of(label: Label, annotation: Annotation, wanted: Wanted) -> str:
    own = {"box": "rectangle", "whole_item": "tag"}.get(annotation.geometry.kind, annotation.geometry.kind)
    kind = own if label.type == ANY else label.type
    return "polygon" if kind == "mask" and wanted.conv_mask_to_poly else kind


def _drawn(annotation: Annotation, kind: str, result: Result) -> tuple[ShapeType, tuple[float, ...]] | None:
    """The geometry as a shape of this type; None where it has none."""
    match kind, annotation.geometry:
        case "tag", _:
            return "tag", ()
        case "rectangle", geometry:
            return _numbers("rectangle", _rectangle(geometry))
        case "polygon", geometry:
            return _numbers("polygon", _polygon(geometry))
        case "mask", geometry:
            return _numbers("mask", _mask(geometry, result.size_hw))
        case _:
            return None


def _numbers(kind: ShapeType, points: Sequence[float] | None) -> tuple[ShapeType, tuple[float, ...]] | None:
    return None if points is None else (kind, tuple(float(number) for number in points))


def _rectangle(geometry: object) -> Sequence[float] | None:
    match geometry:
        case Box(xyxy=xyxy):
            return xyxy
        case Polygon(points_xy=points) if points:
            corners = np.array(points)
            return [*corners.min(axis=0), *corners.max(axis=0)]
        case Mask() as mask:
            return mask_box(decode_mask(mask))
        case _:
            return None


def _polygon(geometry: object) -> Sequence[float] | None:
    match geometry:
        case Box(xyxy=(left, top, right, bottom)):
            return left, top, right, top, right, bottom, left, bottom
        case Polygon(points_xy=points) if len(points) > 2:
            return np.array(points).ravel().tolist()
        case Mask() as mask:
            ring = polygon_of(decode_mask(mask))
            return None if ring is None else ring.ravel().tolist()
        case _:
            return None


def _mask(geometry: object, size_hw: tuple[int, int] | None) -> Sequence[float] | None:
    """A box is no mask: that everything in it belongs to the object is more than was said."""
    match geometry:
        case Mask() as mask:
            return encoded(decode_mask(mask))
        case Polygon(points_xy=points) if len(points) > 2 and size_hw is not None:
            return encoded(filled(np.array(points), size_hw=size_hw))
        case _:
            return None


def _attributes(annotation: Annotation, label: Label) -> dict[int, str]:
    """What the label's attributes can say of the annotation: its own attributes by their names, and the certainty.

    An attribute named ``score`` gets the number, one named ``score_kind`` whether it is a calibrated "confidence" or
    the model's "score", as in pipelines/formats/cvat_images.py.
    """
    number, kind = certainty(annotation)
    known = {"score": str(round(number, 4)), "score_kind": kind} | annotation.attributes
    written = {a.id: a.written(known[a.name]) for a in label.attributes if a.name in known}
    return {id_: value for id_, value in written.items() if value is not None}
