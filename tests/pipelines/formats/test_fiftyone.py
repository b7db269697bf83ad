"""Tests that FiftyOne, with its database, loads the dataset and finds in it what went in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import decode_mask, encode_mask
from models.types import Annotation, Box, Geometry, Mask, Polygon, WholeItem
from pipelines.formats import fiftyone
from pipelines.formats.characters import label_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, objects
from pipelines.formats.extents import image_size_hw
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.entries import an_entry, entry, flat, images, is_drawable, labels_of
from tests.pipelines.formats.readers import Reader, reader

CORNER = np.zeros((48, 64), dtype=bool)
CORNER[12:24, 16:48] = np.tri(12, 32, dtype=bool)


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("fiftyone", "fiftyone") as database:
        yield database


def write(entries: Sequence[Exported], out: Path) -> LeftOut:
    return fiftyone.write(iter(entries), labels=labels_of(entries), out=out)


def read(library: Reader, out: Path, task: str = "detection") -> dict[str, Any]:
    return library.ask(folder=str(out / task), field=task)


def test_boxes_masks_polygons_and_labels_come_back_with_their_scores(library: Reader, tmp_path: Path) -> None:
    labels = [
        an_annotation("0", label="cat", geometry=Box(xyxy=(16.0, 12.0, 48.0, 36.0)), score=0.25),
        an_annotation("1", label="dog", geometry=encode_mask(CORNER), confidence=0.5),
        an_annotation("2", label="cat", geometry=Polygon(points_xy=((0, 0), (32, 0), (0, 12))), score=0.75),
        an_annotation("3", label="indoor", geometry=WholeItem(), score=1.0),
    ]

    assert write([an_entry("a.png", *labels)], tmp_path) == {}

    found = read(library, tmp_path)
    assert (found["counts"], found["scores"]) == ({"cat": 1, "dog": 1}, [0.25, 0.5])
    assert found["classes"]["detection"] == ["cat", "dog", "indoor"]
    (sample,) = found["samples"]
    assert (sample["filepath"], sample["tags"], sample["metadata"]) == ("/data/image.png", ["review"], [48, 64])
    assert (sample["item_id"], sample["status"], sample["route"]) == ("a.png", "labels", "review")
    box, mask = sample["detection"]
    assert (box["label"], box["bounding_box"]) == ("cat", [0.25, 0.25, 0.5, 0.5])
    assert (box["confidence"], box["score_kind"]) == (0.25, "score")
    assert (mask["label"], mask["bounding_box"]) == ("dog", pytest.approx([0.25, 0.25, 12 / 64, 0.25]))
    assert (mask["confidence"], mask["score_kind"]) == (0.5, "confidence")
    assert np.array_equal(bitmap(mask), CORNER[12:24, 16:28])
    (polygon,), (label,) = sample["detection_polygons"], sample["detection_labels"]
    assert (polygon["points"], polygon["closed"], polygon["filled"]) == ([[[0, 0], [0.5, 0], [0, 0.25]]], True, True)
    assert (label["label"], label["confidence"]) == ("indoor", 1.0)


def test_all_that_a_sample_has_can_be_filtered_by(library: Reader, tmp_path: Path) -> None:
    write([an_entry("a.png", an_annotation())], tmp_path)

    assert set(read(library, tmp_path)["fields"]) >= {
        "detection.detections.confidence",
        "detection.detections.label",
        "detection.detections.score_kind",
        "detection_labels.classifications.score_kind",
        "detection_polygons.polylines.score_kind",
        "item_id",
        "route",
        "status",
        "uri",
    }


def test_every_task_is_a_dataset_with_fields_of_its_own(library: Reader, tmp_path: Path) -> None:
    box, mask = an_annotation("0"), an_annotation("m0", geometry=encode_mask(CORNER), parent_id="0")

    write([an_entry("a.png", box), an_entry("a.png", box, mask, task="segmentation")], tmp_path)

    (detected,) = read(library, tmp_path)["samples"]
    (outlined,) = read(library, tmp_path, "segmentation")["samples"]
    assert ["mask" in label for label in detected["detection"]] == [False]
    assert ["mask" in label for label in outlined["segmentation"]] == [True]


def test_an_image_that_lies_elsewhere_is_looked_for_in_the_drop(library: Reader, tmp_path: Path) -> None:
    write([entry(a_result("day/a.png"), uri="s3://bucket/a.png"), entry(a_result("b.png"), uri=None)], tmp_path)

    found = [(sample["filepath"], sample["uri"]) for sample in read(library, tmp_path)["samples"]]
    assert found == [("/drop/day/a.png", "s3://bucket/a.png"), ("/drop/b.png", None)]


def test_an_image_without_labels_stays_and_one_that_failed_is_counted(library: Reader, tmp_path: Path) -> None:
    left_out = write([an_entry("empty.png"), entry(a_failure("broken.png"))], tmp_path)

    assert left_out == {"items that failed": 1}
    (sample,) = read(library, tmp_path)["samples"]
    assert (sample["item_id"], sample["status"], sample["detection"]) == ("empty.png", "nothing_found", [])


def test_what_is_no_shape_is_counted(tmp_path: Path) -> None:
    line = an_annotation("0", geometry=Polygon(points_xy=((0, 0), (1, 1))))
    empty = an_annotation("1", geometry=encode_mask(np.zeros((4, 4), dtype=bool)))

    left_out = write(
        [an_entry("a.png", line, empty), entry(a_result("b.png", an_annotation()), size_hw=None)], tmp_path
    )

    assert left_out == {
        "polygons of fewer than three points, and masks without a pixel": 2,
        "shapes in images of unknown size": 1,
    }


def test_ten_thousand_labels_come_back(library: Reader, tmp_path: Path) -> None:
    write([an_entry("a.png", *(an_annotation(str(number)) for number in range(10_000)))], tmp_path)

    found = library.ask(folder=str(tmp_path / "detection"), field="detection", max_samples=0)
    assert found["counts"] == {"circle": 10_000}


@settings(max_examples=6)  # a dataset takes half a second to make
@given(st.lists(images(), min_size=1, max_size=8))
def test_whatever_a_store_holds_can_be_read(library: Reader, entries: list[Exported]) -> None:
    with TemporaryDirectory() as folder:
        left_out = write(entries, Path(folder))
        found = {task.name: read(library, Path(folder), task.name) for task in Path(folder).iterdir()}

    lost, counts = 0, {task: Counter[str]() for task in found}
    samples = {task: read["samples"] for task, read in found.items()}
    for one in entries:
        if one.result.status == "failed":
            lost += 1
            continue
        task = one.result.task
        sample = samples[task].pop(0)
        assert sample["item_id"] == name_of(one.item.id)
        labels = [annotation for annotation, _ in objects(one.result)]
        held = [annotation for annotation in labels if is_held(annotation, one)]
        lost += len(labels) - len(held)
        lists = {Polygon: f"{task}_polygons", WholeItem: f"{task}_labels"}
        for annotation in held:
            back = sample[lists.get(type(annotation.geometry), task)].pop(0)
            assert back["label"] == label_of(annotation.label)
            assert (back["confidence"], back["score_kind"]) == certainty(annotation)
            assert_same_place(back, annotation.geometry, one)
            counts[task][back["label"]] += back["type"] == "Detection"
    assert left_out.total() == lost
    assert not any(samples.values())
    assert {task: read["counts"] for task, read in found.items()} == {task: +count for task, count in counts.items()}


def is_held(annotation: Annotation, one: Exported) -> bool:
    if isinstance(annotation.geometry, WholeItem):
        return True
    return is_drawable(annotation) and image_size_hw(one.result) is not None


def assert_same_place(back: dict[str, Any], geometry: Geometry, one: Exported) -> None:
    height, width = image_size_hw(one.result) or (1, 1)
    match geometry:
        case Box(xyxy=(x1, y1, x2, y2)):
            expected = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
            assert back["bounding_box"] == pytest.approx(expected)
        case Polygon(points_xy=points):
            ((*ring,),) = [back["points"][0]]
            assert flat(ring) == pytest.approx(flat((x / width, y / height) for x, y in points))
        case Mask() as mask:
            x, y, w, h = back["bounding_box"]
            left, top = round(x * width), round(y * height)
            whole = np.zeros(mask.size_hw, dtype=bool)
            whole[top : top + round(h * height), left : left + round(w * width)] = bitmap(back)
            assert np.array_equal(whole, decode_mask(mask))
        case _:
            assert back["type"] == "Classification"


def bitmap(label: dict[str, Any]) -> np.ndarray:
    height, width = label["mask_hw"]
    packed = np.array(label["mask"], dtype=np.uint8)
    return np.unpackbits(packed, count=height * width).reshape(height, width).astype(bool)
