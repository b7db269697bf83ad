"""Builds annotations of all kinds for tests of corrections, and strategies that draw many of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from models.geometry import encode_mask
from models.types import Annotation, Box, Geometry, Mask, Task, TextSpan, TimeSpan, WholeItem


def one(
    geometry: Geometry, label: str = "cat", *, id: str = "0", text: str | None = None, parent: str | None = None
) -> Annotation:
    return Annotation(id=id, label=label, geometry=geometry, score=0.75, text=text, parent_id=parent)


def a_box(x: float, label: str = "cat", *, y: float = 0.0, side: float = 10.0, id: str = "0") -> Annotation:
    return one(Box(xyxy=(x, y, x + side, y + side)), label, id=id)


def a_mask(
    columns: tuple[int, int], label: str = "cat", *, rows: tuple[int, int] = (0, 20), id: str = "0"
) -> Annotation:
    """A rectangle in a picture of 20 by 40 pixels."""
    return one(a_rectangle(columns, rows), label, id=id)


def a_rectangle(columns: tuple[int, int], rows: tuple[int, int] = (0, 20)) -> Mask:
    bitmap = np.zeros((20, 40), dtype=bool)
    bitmap[rows[0] : rows[1], columns[0] : columns[1]] = True
    return encode_mask(bitmap)


def a_span(start: int, end: int, label: str = "person", *, id: str = "0") -> Annotation:
    return one(TextSpan(start=start, end=end), label, id=id)


def a_segment(text: str, start_s: float = 0.0, end_s: float = 1.0, *, id: str = "0") -> Annotation:
    return one(TimeSpan(start_s=start_s, end_s=end_s), "speech", id=id, text=text)


def heard(text: str) -> list[Annotation]:
    """A transcript as single words, half a second each."""
    return [
        one(TimeSpan(start_s=n / 2, end_s=n / 2 + 0.5), "word", id=str(n), text=word)
        for n, word in enumerate(text.split())
    ]


_labels = st.sampled_from(["cat", "dog", "person"])
_places = st.integers(0, 12)


def _box() -> st.SearchStrategy[Geometry]:
    sides = st.integers(1, 8)
    return st.builds(lambda x, y, w, h: Box(xyxy=(x, y, x + w, y + h)), _places, _places, sides, sides)


def _area() -> st.SearchStrategy[Geometry]:
    return st.builds(
        lambda x, y, w, h: a_rectangle((x, x + w), (y, min(y + h, 20))),
        *(_places, _places, st.integers(1, 20), st.integers(1, 8)),
    )


def _text_span() -> st.SearchStrategy[Geometry]:
    return st.builds(lambda start, length: TextSpan(start=start, end=start + length), _places, st.integers(1, 6))


def _time_span() -> st.SearchStrategy[Geometry]:
    return st.builds(lambda start, n: TimeSpan(start_s=start / 4, end_s=(start + n) / 4), _places, st.integers(0, 6))


_GEOMETRIES: dict[Task, st.SearchStrategy[Geometry]] = {
    "detection": st.one_of(_box(), st.just(WholeItem())),
    "segmentation": st.one_of(_area(), _box()),
    "ner": st.one_of(_text_span(), st.just(WholeItem())),
    "speech": _time_span(),
}
_texts = st.lists(st.sampled_from(["the", "cat", "sat", "Sat,", "on", "it"]), max_size=4).map(" ".join)


def annotations_of(task: Task, *, most: int = 6) -> st.SearchStrategy[list[Annotation]]:
    """Up to ``most`` annotations of a task on little room, so that they overlap, with ids of their own."""
    text = _texts if task == "speech" else st.none()
    each = st.builds(lambda geometry, label, text: one(geometry, label, text=text), _GEOMETRIES[task], _labels, text)
    return st.lists(each, max_size=most).map(lambda found: [replace(a, id=str(n)) for n, a in enumerate(found)])
