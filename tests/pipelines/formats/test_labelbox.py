"""Tests that Labelbox's own types find in a line what went into it."""

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
from models.types import Annotation, Box, Geometry, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats import labelbox
from pipelines.formats.characters import label_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, objects
from tests.pipelines.formats.builders import a_failure, an_annotation
from tests.pipelines.formats.entries import an_entry, documents, entry, images, labels_of
from tests.pipelines.formats.readers import Reader, reader

DIAGONAL = np.eye(48, 64, dtype=bool)


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("labelbox", "labelbox") as sdk:
        yield sdk


def write(entries: Sequence[Exported], out: Path) -> LeftOut:
    return labelbox.write(iter(entries), labels=labels_of(entries), out=out)


def read(library: Reader, out: Path) -> list[dict[str, Any]]:
    return library.ask(path=str(out / "predictions.ndjson"))


def test_boxes_polygons_and_masks_come_back_with_their_scores(library: Reader, tmp_path: Path) -> None:
    labels = [
        an_annotation("0", label="cat", geometry=Box(xyxy=(1.5, 2.0, 10.25, 20.0)), score=0.25),
        an_annotation("1", label="dog", geometry=Polygon(points_xy=((0, 0), (9, 0), (0, 8))), confidence=0.5),
        an_annotation("2", label="cat", geometry=encode_mask(DIAGONAL), score=0.0),
    ]

    assert write([an_entry("a/ü.png", *labels)], tmp_path) == {}

    box, polygon, mask = read(library, tmp_path)
    assert {found["global_key"] for found in (box, polygon, mask)} == {"a/ü.png"}
    assert (box["name"], box["xyxy"], box["confidence"]) == ("cat", [1.5, 2.0, 10.25, 20.0], 0.25)
    assert (polygon["name"], polygon["points"], polygon["confidence"]) == ("dog", [[0, 0], [9, 0], [0, 8], [0, 0]], 0.5)
    assert (mask["name"], mask["size_hw"], mask["confidence"]) == ("cat", [48, 64], 0.0)
    assert np.array_equal(bitmap(mask), DIAGONAL)


def test_a_text_entity_ends_at_its_last_character(library: Reader, tmp_path: Path) -> None:
    text = "Lorem ipsum dolor sit amet"
    span = an_annotation(label="words", geometry=TextSpan(start=6, end=11), score=0.75)

    write([an_entry("a.txt", span, task="ner", text=text)], tmp_path)

    (found,) = read(library, tmp_path)
    assert (found["start"], text[found["end"]], found["confidence"]) == (6, "m", 0.75)


def test_lines_are_what_the_library_would_write(library: Reader, tmp_path: Path) -> None:
    labels = [
        an_annotation("0", geometry=Box(xyxy=(1.0, 2.0, 3.0, 4.0))),
        an_annotation("1", geometry=Polygon(points_xy=((0, 0), (9, 0), (0, 8)))),
        an_annotation("2", geometry=encode_mask(DIAGONAL)),
    ]

    write([an_entry("a.png", *labels)], tmp_path)

    ours = [json.loads(line) for line in (tmp_path / "predictions.ndjson").read_bytes().splitlines()]
    theirs = [found["again"] for found in read(library, tmp_path)]
    assert theirs[0]["bbox"].items() <= ours[0]["bbox"].items()
    assert (theirs[1]["polygon"], theirs[2]["mask"].keys()) == (ours[1]["polygon"], ours[2]["mask"].keys())


def test_the_same_label_has_the_same_uuid_and_others_have_others(library: Reader, tmp_path: Path) -> None:
    entries = [
        an_entry("a.png", an_annotation("0"), an_annotation("1")),
        an_entry("b.png", an_annotation("0")),
        an_entry("a.png", an_annotation("0"), task="segmentation"),
    ]

    write(entries, tmp_path)
    first = [found["uuid"] for found in read(library, tmp_path)]
    write(entries, tmp_path)

    assert [found["uuid"] for found in read(library, tmp_path)] == first
    assert len(set(first)) == 4


def test_what_ndjson_has_no_line_for_is_counted(library: Reader, tmp_path: Path) -> None:
    shapes: list[Geometry] = [
        Polygon(points_xy=((0, 0), (1, 1))),
        WholeItem(),
        TextSpan(start=1, end=1),
        TimeSpan(start_s=0.0, end_s=1.0),
    ]
    labels = [an_annotation(str(number), geometry=shape) for number, shape in enumerate(shapes)]

    left_out = write([an_entry("empty.png"), entry(a_failure("broken.png")), an_entry("a.png", *labels)], tmp_path)

    assert left_out == {
        "items that failed": 1,
        "items without labels": 1,
        "polygons of fewer than three points": 1,
        "labels of the whole item": 1,
        "spans without a character": 1,
        "spans of time": 1,
    }
    assert read(library, tmp_path) == []


def test_ten_thousand_labels_come_back(library: Reader, tmp_path: Path) -> None:
    write([an_entry("a.png", *(an_annotation(str(number)) for number in range(10_000)))], tmp_path)

    assert len(read(library, tmp_path)) == 10_000


@settings(max_examples=60)
@given(st.lists(images() | documents(), max_size=3))
def test_whatever_a_store_holds_can_be_read(library: Reader, entries: list[Exported]) -> None:
    with TemporaryDirectory() as folder:
        left_out = write(entries, Path(folder))
        lines = read(library, Path(folder))

    labels = [
        (annotation, one) for one in entries if one.result.status != "failed" for annotation, _ in objects(one.result)
    ]
    held = [(annotation, one) for annotation, one in labels if is_held(annotation)]
    assert left_out.total() - left_out["items that failed"] - left_out["items without labels"] == len(labels) - len(
        held
    )
    for (annotation, one), line in zip(held, lines, strict=True):
        assert (line["global_key"], line["name"]) == (name_of(one.item.id), label_of(annotation.label))
        assert line["confidence"] == certainty(annotation)[0]
        match annotation.geometry:
            case Box(xyxy=xyxy):
                assert line["xyxy"] == pytest.approx(xyxy)
            case Polygon(points_xy=points):
                ring = points if points[0] == points[-1] else (*points, points[0])
                assert line["points"] == [pytest.approx(point) for point in ring]
            case Mask() as mask:
                assert np.array_equal(bitmap(line), decode_mask(mask))
            case TextSpan(start=start, end=end):
                assert (line["start"], line["end"] + 1) == (start, end)
            case _:
                raise AssertionError("there is no line for it")


def is_held(annotation: Annotation) -> bool:
    match annotation.geometry:
        case Polygon(points_xy=points):
            return len(points) > 2
        case TextSpan(start=start, end=end):
            return start < end
        case WholeItem():
            return False
        case _:
            return True


def bitmap(line: dict[str, Any]) -> np.ndarray:
    height, width = line["size_hw"]
    return (
        np.unpackbits(np.array(line["rows"], dtype=np.uint8), count=height * width).reshape(height, width).astype(bool)
    )
