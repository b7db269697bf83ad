"""Reads what someone has pointed at in Label Studio's editor as prompts for a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from models.types import Box, BoxPrompt, PointPrompt, Polygon, Prompts
from pipelines.formats.label_studio import entries
from pipelines.formats.label_studio.binding import Binding

_UNNAMED = "object"
_Point = tuple[tuple[float, float], bool]


def prompts(binding: Binding, context: Mapping[str, Any] | None, *, size_hw: tuple[int, int] | None = None) -> Prompts:
    """The points and boxes of ``params.context`` of an interactive request, in pixels of the original image.

    All key points of one label are one object: those with ``is_positive`` (or without it, as older versions send them)
    lie on it, the others off it. Every rectangle is an object of its own; of a turned one it is the box around it. The
    labels are those of the project, and where no control can draw one, the only one that can be drawn. What is no point
    and no rectangle asks for nothing, nor does the context of a text or a recording.

    Args:
        size_hw: the image's, where a region does not say it.
    """
    found = context.get("result") if context else None
    if binding.source.media != "image" or not isinstance(found, Sequence) or isinstance(found, str):
        return Prompts()
    here = [entry for entry in found if isinstance(entry, Mapping) and entry.get("to_name") == binding.source.name]
    points, boxes = defaultdict[str, list[_Point]](list), list[BoxPrompt]()
    for entry in here:
        label = next(iter(entries.labels_of(entry)), _UNNAMED)
        if entries.kind_of(entry) == "keypoint":
            if place := entries.point_px(entry, size_hw=size_hw):
                points[label].append((place, entry.get("is_positive") is not False))
        elif entries.kind_of(entry) == "rectangle" and (box := _box(entry, size_hw)):
            boxes.append(BoxPrompt(xyxy=box, label=binding.drawn_label(label)))
    objects = (_prompt(binding.drawn_label(label), own) for label, own in points.items())
    return Prompts(boxes=tuple(boxes), points=tuple(objects))


def _prompt(label: str, points: list[_Point]) -> PointPrompt:
    places, flags = zip(*points, strict=True)
    return PointPrompt(points_xy=tuple(places), is_foreground=tuple(flags), label=label)


def _box(entry: entries.Entry, size_hw: tuple[int, int] | None) -> tuple[float, float, float, float] | None:
    match entries.geometry(entry, "image", size_hw=size_hw):
        case Box(xyxy=xyxy):
            return xyxy
        case Polygon(points_xy=points):
            x, y = zip(*points, strict=True)
            return min(x), min(y), max(x), max(y)
        case _:
            return None
