"""Builds entries to export, and draws the worst that a store may hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.geometry import decode_mask, encode_mask
from models.types import (
    MEDIA_OF_TASK,
    Annotation,
    Box,
    Geometry,
    Item,
    Mask,
    Polygon,
    Task,
    TextSpan,
    TimeSpan,
    WholeItem,
)
from pipelines.formats.exported import Exported
from pipelines.formats.results import Result
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation

_SIGNS = "aZ09 ._-%/\\\"'<>&;,:|#?$*\t\r\n\0\x01\x0b\x7f\x85é\u0301\u202e\u2028\ufeff\ufffe😀👩\u200d👧\udce9\ud800"
SIDES = (1, 2, 7, 48, 65535)


def entry(
    result: Result,
    *,
    uri: str | None = "/data/image.png",
    text: str | None = None,
    size_hw: tuple[int, int] | None = (48, 64),
    duration_s: float | None = None,
) -> Exported:
    item = Item(id=result.id, media=MEDIA_OF_TASK[result.task], uri=uri)
    return Exported(result=replace(result, size_hw=size_hw, duration_s=duration_s), item=item, text=text)


def an_entry(id: str, *annotations: Annotation, task: Task = "detection", text: str | None = None) -> Exported:
    return entry(a_result(id, *annotations, task=task), text=text)


def labels_of(entries: Sequence[Exported]) -> list[str]:
    return sorted({annotation.label for entry in entries for annotation in entry.result.annotations})


texts = st.text(st.sampled_from(_SIGNS), max_size=12)
ids = st.text(st.sampled_from(_SIGNS), min_size=1, max_size=12)
scores = st.floats(0.0, 1.0)
_coordinates = st.floats(-50.0, 70000.0, allow_nan=False, width=32)
_points = st.tuples(_coordinates, _coordinates)
_spans = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)

boxes = st.tuples(_points, _points).map(
    lambda corners: Box(xyxy=(*map(min, zip(*corners, strict=True)), *map(max, zip(*corners, strict=True))))  # pyright: ignore[reportArgumentType]
)
polygons = st.lists(_points, max_size=6).map(lambda points: Polygon(points_xy=tuple(points)))
whole_items = st.just(WholeItem())
text_spans = _spans.map(lambda span: TextSpan(start=span[0], end=span[1]))
time_spans = _spans.map(lambda span: TimeSpan(start_s=span[0] / 4, end_s=span[1] / 4))


@st.composite
def images(draw: st.DrawFn, ids: st.SearchStrategy[str] = ids) -> Exported:
    """An image of any size, known or not, with any labels or none, or one that failed."""
    size_hw = draw(st.tuples(st.sampled_from(SIDES), st.sampled_from(SIDES)).filter(lambda size: min(size) < 50))
    masks = arrays(bool, size_hw if max(size_hw) < 50 else st.just(size_hw), elements=st.booleans(), fill=st.booleans())
    shapes = st.one_of(boxes, polygons, masks.map(encode_mask), whole_items)
    return entry(
        _drawn(draw, draw(ids), shapes, ("detection", "segmentation")), size_hw=draw(st.sampled_from([size_hw, None]))
    )


@st.composite
def documents(draw: st.DrawFn, ids: st.SearchStrategy[str] = ids) -> Exported:
    """A text, known or not, with any spans."""
    text = draw(st.none() | st.text(st.sampled_from(_SIGNS), min_size=12, max_size=20))
    return entry(_drawn(draw, draw(ids), text_spans | whole_items, ("ner",)), text=text, size_hw=None)


@st.composite
def recordings(draw: st.DrawFn, ids: st.SearchStrategy[str] = ids) -> Exported:
    """A recording with any times and words."""
    drawn = _drawn(draw, draw(ids), time_spans | whole_items, ("speech",))
    return entry(drawn, uri="/data/a.wav", size_hw=None, duration_s=draw(st.sampled_from([None, 0.0, 3.0])))


def _drawn(draw: st.DrawFn, item_id: str, shapes: st.SearchStrategy[Geometry], tasks: Sequence[Task]) -> Result:
    task = draw(st.sampled_from(tasks))
    if draw(st.integers(0, 9)) == 0:
        return a_failure(item_id, task=task)
    geometries = draw(st.lists(shapes, max_size=4))
    annotations = [
        an_annotation(
            str(number),
            label=draw(texts),
            geometry=geometry,
            score=draw(scores),
            confidence=draw(st.none() | scores),
            text=draw(st.none() | texts),
            parent_id=draw(st.sampled_from([None, "0", "gone"])),
        )
        for number, geometry in enumerate(geometries)
    ]
    return a_result(item_id, *annotations, task=task)


def is_drawable(annotation: Annotation) -> bool:
    """Whether a label is a shape at all: a polygon has three points, a mask has a pixel."""
    match annotation.geometry:
        case Polygon(points_xy=points):
            return len(points) > 2
        case Mask() as mask:
            return bool(decode_mask(mask).any())
        case _:
            return True


def flat(points: Iterable[tuple[float, float]]) -> list[float]:
    return [side for point in points for side in point]
