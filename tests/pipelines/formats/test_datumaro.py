"""Tests that datumaro finds in its JSON what went into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import encode_mask
from models.types import Annotation, Box, Geometry, Mask, Polygon, WholeItem
from pipelines.formats import datumaro
from pipelines.formats.characters import clean, label_of
from pipelines.formats.exported import Exported, LeftOut, certainty, objects
from tests.pipelines.formats.builders import a_failure, an_annotation
from tests.pipelines.formats.entries import an_entry, entry, flat, images, labels_of
from tests.pipelines.formats.readers import Reader, reader

DIAGONAL = np.eye(48, 64, dtype=bool)


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("datumaro", "datumaro") as datumaro:
        yield datumaro


def write(entries: Sequence[Exported], out: Path) -> LeftOut:
    return datumaro.write(iter(entries), labels=labels_of(entries), out=out)


def read(library: Reader, out: Path) -> dict[str, Any]:
    return library.ask(path=str(out), format="datumaro")


def test_boxes_polygons_masks_and_labels_come_back_with_their_scores(library: Reader, tmp_path: Path) -> None:
    entries = [
        an_entry(
            "a/ü.png",
            an_annotation("0", label="cat", geometry=Box(xyxy=(1.5, 2.0, 10.25, 20.0)), score=0.25),
            an_annotation("1", label="dog", geometry=Polygon(points_xy=((0, 0), (9, 0), (0, 8))), confidence=0.5),
            an_annotation("2", label="cat", geometry=encode_mask(DIAGONAL), score=0.75),
            an_annotation("3", label="dog", geometry=WholeItem(), score=1.0),
        )
    ]

    left_out = write(entries, tmp_path)
    found = read(library, tmp_path)

    assert left_out == {}
    assert found["labels"] == ["cat", "dog"]
    (item,) = found["items"]
    assert (item["id"], item["subset"], item["size_hw"]) == ("a/ü.png", "detection", [48, 64])
    assert item["path"].endswith("detection/a/ü.png")
    assert item["attributes"] == {"status": "labels", "route": "review", "uri": "/data/image.png"}
    box, polygon, mask, label = item["annotations"]
    assert (box["type"], box["label"], box["points"]) == ("bbox", "cat", [1.5, 2.0, 10.25, 20.0])
    assert (polygon["type"], polygon["label"], polygon["points"]) == ("polygon", "dog", [0, 0, 9, 0, 0, 8])
    assert (mask["type"], Mask(size_hw=(48, 64), counts=mask["counts"])) == ("mask", encode_mask(DIAGONAL))
    assert (label["type"], label["label"]) == ("label", "dog")
    assert [(a["attributes"]["score"], a["attributes"]["score_kind"]) for a in item["annotations"]] == [
        (0.25, "score"),
        (0.5, "confidence"),
        (0.75, "score"),
        (1.0, "score"),
    ]


def test_an_image_of_two_tasks_is_in_two_subsets(library: Reader, tmp_path: Path) -> None:
    box, mask = an_annotation("0"), an_annotation("m0", geometry=encode_mask(DIAGONAL), parent_id="0")

    write([an_entry("a.png", box), an_entry("a.png", box, mask, task="segmentation")], tmp_path)

    found = {item["subset"]: [a["type"] for a in item["annotations"]] for item in read(library, tmp_path)["items"]}
    assert found == {"detection": ["bbox"], "segmentation": ["mask"]}


def test_an_annotations_own_attributes_stay(library: Reader, tmp_path: Path) -> None:
    annotation = replace(an_annotation(text="a\0b"), attributes={"stability": 0.5, "language": "é\0", "score": "own"})

    write([an_entry("a.png", annotation)], tmp_path)

    (found,) = read(library, tmp_path)["items"][0]["annotations"]
    expected = {"stability": 0.5, "language": "é\ufffd", "text": "a\ufffdb", "score": 0.9, "annotation_id": "0"}
    assert found["attributes"] == expected | {"score_kind": "score"}


def test_an_image_without_labels_stays_and_one_that_failed_is_counted(library: Reader, tmp_path: Path) -> None:
    left_out = write([an_entry("empty.png"), entry(a_failure("broken.png"))], tmp_path)

    assert left_out == {"items that failed": 1}
    assert [(item["id"], item["annotations"]) for item in read(library, tmp_path)["items"]] == [("empty.png", [])]


def test_a_polygon_that_is_none_is_counted(tmp_path: Path) -> None:
    line = an_annotation(geometry=Polygon(points_xy=((0, 0), (1, 1))))

    assert write([an_entry("a.png", line)], tmp_path) == {"polygons of fewer than three points": 1}


def test_nothing_is_an_empty_dataset(library: Reader, tmp_path: Path) -> None:
    assert write([], tmp_path) == {}

    assert read(library, tmp_path)["items"] == []


def test_ten_thousand_labels_come_back(library: Reader, tmp_path: Path) -> None:
    write([an_entry("a.png", *(an_annotation(str(number)) for number in range(10_000)))], tmp_path)

    (item,) = read(library, tmp_path)["items"]
    assert len(item["annotations"]) == 10_000


def subset_and_id(one: Exported) -> tuple[str, str]:
    return one.result.task, one.item.id


@settings(max_examples=60)
@given(st.lists(images(), max_size=3, unique_by=subset_and_id))
def test_whatever_a_store_holds_can_be_read(library: Reader, entries: list[Exported]) -> None:
    with TemporaryDirectory() as folder:
        left_out = write(entries, Path(folder))
        found = read(library, Path(folder))

    written = [one for one in entries if one.result.status != "failed"]
    assert left_out["items that failed"] == len(entries) - len(written)
    written.sort(key=lambda one: one.result.task)
    lost = 0
    for one, item in zip(written, sorted(found["items"], key=lambda item: item["subset"]), strict=True):
        annotations = [annotation for annotation, _ in objects(one.result)]
        held = list(filter(is_held, annotations))
        lost += len(annotations) - len(held)
        for annotation, back in zip(held, item["annotations"], strict=True):
            assert back["label"] == label_of(annotation.label)
            assert (back["attributes"]["score"], back["attributes"]["score_kind"]) == certainty(annotation)
            assert back["attributes"].get("text") == (annotation.text and clean(annotation.text))
            assert_same_shape(back, annotation.geometry)
    assert left_out["polygons of fewer than three points"] == lost


def is_held(annotation: Annotation) -> bool:
    return not isinstance(annotation.geometry, Polygon) or len(annotation.geometry.points_xy) > 2


def assert_same_shape(back: dict[str, Any], geometry: Geometry) -> None:
    match geometry:
        case Box(xyxy=xyxy):
            assert (back["type"], back["points"]) == ("bbox", pytest.approx(xyxy, abs=0.02))
        case Polygon(points_xy=points):
            assert (back["type"], back["points"]) == ("polygon", pytest.approx(flat(points), abs=0.02))
        case Mask():
            assert Mask(size_hw=tuple(back["size_hw"]), counts=back["counts"]) == geometry
        case _:
            assert back["type"] == "label"
