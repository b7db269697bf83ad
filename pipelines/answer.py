"""Checks that a human's annotations can be true of an item of their task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from models.geometry import run_lengths
from models.types import Annotation, Box, Mask, Polygon, Task, TextSpan, TimeSpan, WholeItem
from pipelines.tasks import GEOMETRIES


def problems(task: Task, annotations: Sequence[Annotation]) -> list[str]:
    """What is impossible about these annotations, each with the annotation that it concerns; empty if nothing is.

    Whether they fit the item's size or length is not known here.
    """
    found = [f"annotation '{a.id}': {problem}" for a in annotations for problem in _problems(task, a)]
    twins = [annotation_id for annotation_id, count in Counter(a.id for a in annotations).items() if count > 1]
    return found + [f"annotation '{twin}': more than one has this id" for twin in twins]


def _problems(task: Task, annotation: Annotation) -> Iterator[str]:
    if not annotation.label.strip():
        yield "the label is empty"
    for name, value in (("score", annotation.score), ("confidence", annotation.confidence)):
        if value is not None and not 0.0 <= value <= 1.0:
            yield f"{name} must lie in [0, 1]; got {value}"
    if not isinstance(annotation.geometry, GEOMETRIES[task]):
        wanted = ", ".join(_kind(geometry) for geometry in GEOMETRIES[task])
        yield f"a {annotation.geometry.kind} says nothing about {task}; wanted one of: {wanted}"
    elif not _is_possible(annotation.geometry):
        yield f"its {annotation.geometry.kind} is empty, reversed or no finite range: {annotation.geometry}"


def _kind(geometry: type) -> str:
    return geometry.__dataclass_fields__["kind"].default


def _is_possible(geometry: WholeItem | Box | Polygon | Mask | TextSpan | TimeSpan) -> bool:
    match geometry:
        case WholeItem():
            return True
        case Box(xyxy=(x1, y1, x2, y2)):
            return all(map(math.isfinite, (x1, y1, x2, y2))) and x1 < x2 and y1 < y2
        case Polygon(points_xy=points):
            return len(points) >= 3 and all(math.isfinite(value) for point in points for value in point)
        case Mask(size_hw=(height, width), counts=counts):
            return height > 0 and width > 0 and sum(run_lengths(counts) or ()) == height * width
        case TextSpan(start=start, end=end):
            return 0 <= start < end
        case TimeSpan(start_s=start, end_s=end):
            return math.isfinite(end) and 0.0 <= start <= end
