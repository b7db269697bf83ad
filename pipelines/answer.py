"""Reads what a human answers, and checks that it can be true of an item of its task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from models.geometry import run_lengths
from models.types import Annotation, Box, Mask, Polygon, Task, TextSpan, TimeSpan, WholeItem
from pipelines.errors import InvalidRequestError
from pipelines.store import rows
from pipelines.store.jsonb import Json, storable, to_json
from pipelines.tasks import GEOMETRIES

_LONGEST_NAME = 200


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


def annotations_of(given: object) -> tuple[Annotation, ...]:
    """The annotations, given as values or as their JSON.

    Raises:
        InvalidRequestError: they cannot be read.
    """
    try:
        return rows.ANNOTATIONS.validate_python(given)
    except ValidationError as err:
        details = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in err.errors())
        raise InvalidRequestError("invalid_annotations", f"these are not annotations: {details}") from err


def stored_annotations(annotations: Sequence[Annotation]) -> Json:
    """The annotations as the store keeps them.

    Raises:
        InvalidRequestError: there are numbers in them that it cannot keep.
    """
    try:
        return to_json(rows.ANNOTATIONS.dump_python(tuple(annotations), warnings=False))
    except (TypeError, ValueError) as err:
        raise InvalidRequestError("invalid_annotations", f"these annotations cannot be stored: {err}") from err


def short(what: str, value: str) -> str:
    """A name as the store keeps it.

    Raises:
        InvalidRequestError: it is empty or longer than 200 characters.
    """
    if not 1 <= len(value) <= _LONGEST_NAME:
        raise InvalidRequestError(
            "invalid_argument", f"{what} must have 1 to {_LONGEST_NAME} characters; got {len(value)}"
        )
    return storable(value)


def seconds_of(seconds: float | None) -> float | None:
    """How long a human worked.

    Raises:
        InvalidRequestError: that is no finite number from 0 up.
    """
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0.0):
        raise InvalidRequestError("invalid_argument", f"seconds must be a number from 0 up; got {seconds}")
    return seconds
