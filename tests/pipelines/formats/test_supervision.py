"""Tests that supervision finds in a line what went into it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import decode_mask, encode_mask
from models.types import Annotation, Box, Mask, Polygon, WholeItem
from pipelines.formats import supervision
from pipelines.formats.characters import label_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, objects
from pipelines.formats.extents import extent, image_size_hw
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.entries import an_entry, entry, images, labels_of
from tests.pipelines.formats.readers import Reader, reader

DIAGONAL = np.eye(48, 64, dtype=bool)


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("supervision", "detections") as supervision:
        yield supervision


def write(entries: Sequence[Exported], out: Path) -> LeftOut:
    return supervision.write(iter(entries), labels=labels_of(entries), out=out)


def read(library: Reader, out: Path) -> list[dict[str, Any]]:
    """What stands in each line, and what supervision makes of it."""
    lines = [json.loads(line) for line in (out / "detections.jsonl").read_bytes().splitlines()]
    return [line | found for line, found in zip(lines, library.ask(path=str(out / "detections.jsonl")), strict=True)]


def test_boxes_come_back_with_their_scores(library: Reader, tmp_path: Path) -> None:
    entries = [
        an_entry(
            "a.png",
            an_annotation("0", label="dog", geometry=Box(xyxy=(1.5, 2.0, 10.25, 20.0)), score=0.25),
            an_annotation("1", label="cat", score=0.5, confidence=0.75),
        )
    ]

    assert write(entries, tmp_path) == {}

    (found,) = read(library, tmp_path)
    assert (found["image_id"], found["route"], found["image"]) == ("a.png", "review", {"width": 64, "height": 48})
    assert found["xyxy"] == [[1.5, 2.0, 10.25, 20.0], [10.0, 20.0, 40.0, 60.0]]
    assert (found["confidence"], found["class_id"], found["class_name"]) == ([0.25, 0.75], [1, 0], ["dog", "cat"])
    assert [prediction["score_kind"] for prediction in found["predictions"]] == ["score", "confidence"]


def test_masks_and_polygons_come_back_and_boxes_beside_them_too(library: Reader, tmp_path: Path) -> None:
    square = Polygon(points_xy=((10.0, 5.0), (20.0, 5.0), (20.0, 15.0), (10.0, 15.0)))
    labels = [
        an_annotation("0", geometry=encode_mask(DIAGONAL)),
        an_annotation("1", geometry=Box(xyxy=(1.0, 2.0, 3.0, 4.0))),
        an_annotation("2", geometry=square),
    ]

    assert write([an_entry("a.png", *labels, task="segmentation")], tmp_path) == {}

    outlined, boxed = read(library, tmp_path)
    mask, drawn = (bitmap(rows, (48, 64)) for rows in outlined["rows"])
    assert np.array_equal(mask, DIAGONAL)
    assert (drawn[5:16, 10:21].all(), drawn.sum()) == (True, 11 * 11)  # supervision draws the edge, too
    assert outlined["xyxy"] == [[0.0, 0.0, 48.0, 48.0], [10.0, 5.0, 20.0, 15.0]]
    assert (boxed["xyxy"], boxed["rows"]) == ([[1.0, 2.0, 3.0, 4.0]], None)


def test_an_image_without_labels_stays_and_one_that_failed_is_counted(library: Reader, tmp_path: Path) -> None:
    left_out = write([an_entry("empty.png"), entry(a_failure("broken.png"))], tmp_path)

    assert left_out == {"items that failed": 1}
    assert [(line["image_id"], line["status"], line["xyxy"]) for line in read(library, tmp_path)] == [
        ("empty.png", "nothing_found", [])
    ]


def test_what_is_no_detection_is_counted(tmp_path: Path) -> None:
    triangle, line = Polygon(points_xy=((0, 0), (9, 0), (0, 8))), Polygon(points_xy=((0, 0), (1, 1)))
    labels = [an_annotation(str(n), geometry=geometry) for n, geometry in enumerate([triangle, line, WholeItem()])]

    left_out = write([entry(a_result("a.png", *labels), size_hw=None)], tmp_path)

    assert left_out == {
        "polygons in images of unknown size": 1,
        "polygons of fewer than three points": 1,
        "labels of the whole image": 1,
    }


def test_ten_thousand_labels_come_back(library: Reader, tmp_path: Path) -> None:
    write([an_entry("a.png", *(an_annotation(str(number)) for number in range(10_000)))], tmp_path)

    assert len(read(library, tmp_path)[0]["xyxy"]) == 10_000


@settings(max_examples=50)
@given(st.lists(images(), max_size=3))
def test_whatever_a_store_holds_can_be_read(library: Reader, entries: list[Exported]) -> None:
    with TemporaryDirectory() as folder:
        left_out = write(entries, Path(folder))
        lines = read(library, Path(folder))

    expected, lost = [], 0
    for one in entries:
        if one.result.status != "failed":
            shapes = [annotation for annotation, _ in objects(one.result)]
            held = [shape for shape in shapes if is_held(shape, one)]
            lost += len(shapes) - len(held)
            boxed = [shape for shape in held if isinstance(shape.geometry, Box)]
            outlined = [shape for shape in held if not isinstance(shape.geometry, Box)]
            expected += [(one, part) for part in (outlined, boxed) if part] or [(one, [])]
    assert left_out.total() - left_out["items that failed"] == lost
    for line, (one, shapes) in zip(lines, expected, strict=True):
        assert line["image_id"] == name_of(one.item.id)
        assert line["class_name"] == [label_of(shape.label) for shape in shapes]
        assert (line["confidence"] or []) == [certainty(shape)[0] for shape in shapes]
        boxes = [extent(shape.geometry) or (0.0,) * 4 for shape in shapes]
        assert np.allclose(np.reshape(line["xyxy"], (-1, 4)), np.reshape(boxes, (-1, 4)))
        has_outlines = any(not isinstance(shape.geometry, Box) for shape in shapes)
        assert (line["rows"] is not None) == has_outlines
        for shape, rows in zip(shapes if has_outlines else [], line["rows"] or [], strict=True):
            if isinstance(shape.geometry, Mask):
                assert np.array_equal(bitmap(rows, shape.geometry.size_hw), decode_mask(shape.geometry))


def is_held(annotation: Annotation, one: Exported) -> bool:
    match annotation.geometry:
        case Polygon(points_xy=points):
            return len(points) > 2 and image_size_hw(one.result) is not None
        case WholeItem():
            return False
        case _:
            return True


def bitmap(rows: list[int], size_hw: tuple[int, int]) -> np.ndarray:
    return np.unpackbits(np.array(rows, dtype=np.uint8), count=size_hw[0] * size_hw[1]).reshape(size_hw).astype(bool)
