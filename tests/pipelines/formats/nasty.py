"""Draws whatever the store can hold about images: odd ids and labels, sizes, boxes, polygons, masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.geometry import encode_mask
from models.types import Annotation, Box, Geometry, Item, Polygon, Task, WholeItem
from pipelines.formats.results import Result
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation

_PIECES = (
    *("a", "b", "A", "ü", "image", "images", "labels", "circle", ":", "/", "//", "..", ".", " ", "#", "%", "~", "-"),
    *('"', "'", "<", "&", ">", "]]>", ",", "\t", "\r\n", "\r", "\n", "\\", "\x00", "\x01", "\x1b", "\x85", "\ufeff"),
    *("\u2028", "\ufffe", "\udce9", "😀", "e\u0301", "\u202e", "אב", "null", "yes", "1e3", "{", "[", "*"),
    *(".jpg", ".PNG", ".png", ".txt", ".xml", ".json"),
)
TEXTS = st.lists(st.sampled_from(_PIECES), max_size=6).map("".join) | st.text(max_size=8)
IDS = TEXTS | st.sampled_from(["a.jpg", "a.png", "A.JPG", "images/a.jpg", "a.txt/b.jpg", "a", "a.xml/b", "a.png/b.png"])
LABELS = st.sampled_from(["circle", "square", "Square"]) | TEXTS
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.sampled_from([(1, 1), (1, 300), (300, 1)])
COORDINATES = st.floats(-10.0, 60.0, width=32) | st.integers(0, 40).map(float) | st.sampled_from([-1e300, 1e300, 1e9])


def _geometries(task: Task, size_hw: tuple[int, int]) -> st.SearchStrategy[Geometry]:
    points = st.tuples(COORDINATES, COORDINATES)
    boxes = st.tuples(COORDINATES, COORDINATES, COORDINATES, COORDINATES).map(lambda xyxy: Box(xyxy=xyxy))
    if task == "detection":
        return boxes | st.just(WholeItem())
    polygons = st.lists(points, max_size=6).map(lambda xy: Polygon(points_xy=tuple(xy)))
    masks = arrays(bool, size_hw).map(encode_mask)
    return st.just(encode_mask(np.zeros(size_hw, dtype=bool))) | masks | polygons | boxes | st.just(WholeItem())


@st.composite
def _annotation(draw: st.DrawFn, task: Task, *, size_hw: tuple[int, int], number: int) -> Annotation:
    annotation = an_annotation(
        str(number),
        label=draw(LABELS),
        geometry=draw(_geometries(task, size_hw)),
        score=draw(st.floats(0.0, 1.0)),
        confidence=draw(st.none() | st.floats(0.0, 1.0)),
        text=draw(st.none() | TEXTS),
        parent_id=draw(st.sampled_from([None, "0", "1", "gone"])),
    )
    return replace(
        annotation, attributes=draw(st.dictionaries(TEXTS, TEXTS | st.floats(0, 1) | st.booleans(), max_size=2))
    )


@st.composite
def image_results(draw: st.DrawFn, *tasks: Task, ids: st.SearchStrategy[str] = IDS) -> Result:
    """A result for an image: labels, nothing found, or a failure; its size may not be known."""
    task = draw(st.sampled_from(tasks or ("detection", "segmentation")))
    item_id, size_hw = draw(ids), draw(SIZES)
    if draw(st.integers(0, 5)) == 0:
        return a_failure(item_id, task=task)
    count = draw(st.integers(0, 4))
    annotations = [draw(_annotation(task, size_hw=size_hw, number=number)) for number in range(count)]
    return replace(a_result(item_id, *annotations, task=task), size_hw=draw(st.sampled_from([size_hw, size_hw, None])))


def item_of(result: Result) -> Item:
    return Item(id=result.id, media="image", uri=f"/data/{result.id}")


def labels_of(results: list[Result]) -> list[str]:
    return sorted({annotation.label for result in results for annotation in result.annotations})
