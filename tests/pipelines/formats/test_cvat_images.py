"""Tests that datumaro's CVAT importer finds in the file what went into it."""

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

from models.geometry import encode_mask
from models.types import Box, Geometry, Mask, Polygon, WholeItem
from pipelines.formats import cvat_images
from pipelines.formats.characters import label_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, objects
from tests.pipelines.formats.builders import a_failure, an_annotation
from tests.pipelines.formats.entries import an_entry, entry, flat, ids, images, is_drawable, labels_of
from tests.pipelines.formats.readers import Reader, reader

SQUARE = np.zeros((48, 64), dtype=bool)
SQUARE[10:20, 30:50] = True


@pytest.fixture(scope="module")
def datumaro() -> Iterator[Reader]:
    with reader("datumaro", "datumaro") as library:
        yield library


def write(entries: Sequence[Exported], out: Path) -> LeftOut:
    return cvat_images.write(iter(entries), labels=labels_of(entries), out=out)


def read(datumaro: Reader, out: Path, entries: Sequence[Exported]) -> dict[str, Any]:
    """What the importer finds; it wants a file for every image."""
    for one in entries:
        file = out / "images" / name_of(one.item.id)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return datumaro.ask(path=str(out), format="cvat")


def test_boxes_polygons_masks_and_tags_come_back_with_their_scores(datumaro: Reader, tmp_path: Path) -> None:
    entries = [
        an_entry(
            "a.png",
            an_annotation("0", label="cat", geometry=Box(xyxy=(1.5, 2.0, 10.25, 20.0)), score=0.25),
            an_annotation("1", label="dog", geometry=Polygon(points_xy=((0, 0), (9, 0), (0, 8))), confidence=0.5),
            an_annotation("2", label="cat", geometry=encode_mask(SQUARE), score=0.75),
            an_annotation("3", label="dog", geometry=WholeItem(), score=1.0),
        )
    ]

    left_out = write(entries, tmp_path)
    found = read(datumaro, tmp_path, entries)

    assert left_out == {}
    assert found["labels"] == ["cat", "dog"]
    (item,) = found["items"]
    assert item["size_hw"] == [48, 64]
    box, polygon, mask, tag = item["annotations"]
    assert (box["type"], box["label"], box["points"]) == ("bbox", "cat", [1.5, 2.0, 10.25, 20.0])
    assert (polygon["type"], polygon["label"], polygon["points"]) == ("polygon", "dog", [0, 0, 9, 0, 0, 8])
    assert (mask["type"], mask["label"], Mask(size_hw=(48, 64), counts=mask["counts"])) == (
        "mask",
        "cat",
        encode_mask(SQUARE),
    )
    assert (tag["type"], tag["label"]) == ("label", "dog")
    assert [(float(a["attributes"]["score"]), a["attributes"]["score_kind"]) for a in item["annotations"]] == [
        (0.25, "score"),
        (0.5, "confidence"),
        (0.75, "score"),
        (1.0, "score"),
    ]


def test_a_box_that_a_mask_was_made_from_is_not_written_again(datumaro: Reader, tmp_path: Path) -> None:
    box, mask = an_annotation("0"), an_annotation("m0", geometry=encode_mask(SQUARE), parent_id="0")
    entries = [an_entry("a.png", box, mask, task="segmentation")]

    write(entries, tmp_path)

    (item,) = read(datumaro, tmp_path, entries)["items"]
    assert [annotation["type"] for annotation in item["annotations"]] == ["mask"]


def test_an_image_without_labels_stays_and_one_that_failed_is_counted(datumaro: Reader, tmp_path: Path) -> None:
    entries = [an_entry("empty.png"), entry(a_failure("broken.png"))]

    left_out = write(entries, tmp_path)
    found = read(datumaro, tmp_path, entries)

    assert left_out == {"items that failed": 1}
    assert [(item["id"], item["annotations"]) for item in found["items"]] == [("empty", [])]


def test_shapes_that_are_none_are_counted(tmp_path: Path) -> None:
    line = Polygon(points_xy=((0, 0), (1, 1)))
    empty = encode_mask(np.zeros((4, 4), dtype=bool))

    left_out = write(
        [an_entry("a.png", an_annotation("0", geometry=line), an_annotation("1", geometry=empty))], tmp_path
    )

    assert left_out == {"polygons of fewer than three points": 1, "masks without a pixel": 1}


def test_the_labels_make_a_task_that_keeps_scores(tmp_path: Path) -> None:
    write([an_entry("a.png", an_annotation(label="cat"))], tmp_path)

    (label,) = json.loads((tmp_path / "labels.json").read_text())

    assert (label["name"], [attribute["name"] for attribute in label["attributes"]]) == ("cat", ["score", "score_kind"])


def test_nothing_is_a_file_without_images(tmp_path: Path) -> None:
    assert write([], tmp_path) == {}

    assert (tmp_path / "annotations.xml").read_text().endswith("</annotations>\n")


def test_ten_thousand_labels_come_back(datumaro: Reader, tmp_path: Path) -> None:
    entries = [an_entry("a.png", *(an_annotation(str(number)) for number in range(10_000)))]

    write(entries, tmp_path)

    (item,) = read(datumaro, tmp_path, entries)["items"]
    assert len(item["annotations"]) == 10_000


names = ids.filter(lambda item_id: all(part not in ("", ".", "..") for part in item_id.split("/")))


@settings(max_examples=60)
@given(st.lists(images(ids=names), max_size=3, unique_by=lambda one: one.item.id.split("/")[0]))
def test_whatever_a_store_holds_can_be_read(datumaro: Reader, entries: list[Exported]) -> None:
    with TemporaryDirectory() as folder:
        left_out = write(entries, Path(folder))
        found = read(datumaro, Path(folder), entries)

    written = [one for one in entries if one.result.status != "failed"]
    assert left_out["items that failed"] == len(entries) - len(written)
    items = {item["attributes"]["frame"]: item for item in found["items"]}
    assert len(items) == len(written)
    lost = 0
    for number, one in enumerate(written):
        assert items[number]["path"].endswith(f"/images/{name_of(one.item.id)}")
        annotations = [annotation for annotation, _ in objects(one.result)]
        drawable = list(filter(is_drawable, annotations))
        lost += len(annotations) - len(drawable)
        for annotation, back in zip(drawable, items[number]["annotations"], strict=True):
            assert back["label"] == label_of(annotation.label)
            assert (float(back["attributes"]["score"]), back["attributes"]["score_kind"]) == certainty(annotation)
            assert_same_shape(back, annotation.geometry)
    assert left_out.total() - left_out["items that failed"] == lost


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
