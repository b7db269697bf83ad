"""Tests that COCO's own reader finds in the file what went into it."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO

from models.geometry import encode_mask
from models.types import Annotation, Box, Polygon, WholeItem
from pipelines.formats import coco
from pipelines.formats.results import Result
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation

HEIGHT, WIDTH = 48, 64
SQUARE = np.zeros((HEIGHT, WIDTH), dtype=bool)
SQUARE[10:20, 30:50] = True


def written(*results: Result) -> COCO:
    """The results, written and read with pycocotools."""
    sizes = {result.id: (HEIGHT, WIDTH) for result in results if result.status != "failed"}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "coco.json"
        coco.write(results, sizes, {result.id: f"images/{result.id}" for result in results}, file)
        return COCO(str(file))


def annotations_of(dataset: COCO) -> list[Any]:
    return list(dataset.anns.values())


def images_of(dataset: COCO) -> list[Any]:
    return list(dataset.imgs.values())


def test_a_box_is_written_as_corner_and_sides() -> None:
    box = an_annotation(geometry=Box(xyxy=(10.0, 20.0, 40.0, 60.0)), score=0.75)

    (annotation,) = annotations_of(written(a_result("a.png", box)))

    assert annotation["bbox"] == [10.0, 20.0, 30.0, 40.0]
    assert annotation["area"] == 1200.0
    assert (annotation["segmentation"], annotation["iscrowd"], annotation["score"]) == ([], 0, 0.75)


def test_a_mask_comes_back_as_the_same_bitmap() -> None:
    dataset = written(a_result("a.png", an_annotation(geometry=encode_mask(SQUARE)), task="segmentation"))

    (annotation,) = annotations_of(dataset)

    assert np.array_equal(dataset.annToMask(annotation), SQUARE)
    assert (annotation["bbox"], annotation["area"]) == ([30.0, 10.0, 20.0, 10.0], 200.0)


def test_a_polygon_keeps_its_points_and_area() -> None:
    triangle = Polygon(points_xy=((0.0, 0.0), (10.0, 0.0), (0.0, 6.0)))

    (annotation,) = annotations_of(written(a_result("a.png", an_annotation(geometry=triangle))))

    assert annotation["segmentation"] == [[0.0, 0.0, 10.0, 0.0, 0.0, 6.0]]
    assert (annotation["area"], annotation["bbox"]) == (30.0, [0.0, 0.0, 10.0, 6.0])


def test_a_label_of_the_whole_image_covers_it() -> None:
    (annotation,) = annotations_of(written(a_result("a.png", an_annotation(geometry=WholeItem()))))

    assert annotation["bbox"] == [0.0, 0.0, WIDTH, HEIGHT]


def test_a_box_and_the_mask_made_from_it_are_one_object() -> None:
    box = an_annotation("0", score=0.8, confidence=0.7)
    mask = an_annotation("m0", geometry=encode_mask(SQUARE), score=0.6, parent_id="0")

    (annotation,) = annotations_of(written(a_result("a.png", box, mask, task="segmentation")))

    assert annotation["score"] == 0.6
    assert annotation["prelabel"]["parent"] == {
        "id": "0",
        "score": 0.8,
        "confidence": 0.7,
        "bbox": [10.0, 20.0, 30.0, 40.0],
    }


def test_what_coco_has_no_place_for_is_kept_in_a_field_of_its_own() -> None:
    annotation = Annotation(
        id="7", label="x", geometry=WholeItem(), score=0.5, confidence=0.25, attributes={"stability": 0.9}
    )

    (found,) = annotations_of(written(a_result("a.png", annotation)))

    extras = found["prelabel"]
    assert (extras["item_id"], extras["annotation_id"], extras["confidence"]) == ("a.png", "7", 0.25)
    assert extras["attributes"] == {"stability": 0.9}


def test_images_without_labels_and_failed_ones_are_listed() -> None:
    dataset = written(a_result("a.png", an_annotation()), a_result("empty.png"), a_failure("broken.png"))

    listed = {image["file_name"]: image["prelabel"]["results"][0]["status"] for image in images_of(dataset)}

    assert listed == {
        "images/a.png": "labels",
        "images/empty.png": "nothing_found",
        "images/broken.png": "failed",
    }


def test_an_image_labelled_for_two_tasks_is_one_image() -> None:
    dataset = written(a_result("a.png", an_annotation()), a_result("a.png", an_annotation(), task="segmentation"))

    assert len(dataset.imgs) == 1
    assert len(dataset.anns) == 2


def test_categories_are_numbered_in_alphabetical_order() -> None:
    dataset = written(a_result("a.png", *(an_annotation(str(i), label=name) for i, name in enumerate("cab"))))

    assert [(category["id"], category["name"]) for category in dataset.cats.values()] == [(1, "a"), (2, "b"), (3, "c")]


def test_texts_and_recordings_are_left_out() -> None:
    dataset = written(a_result("a.png", an_annotation()), a_result("a.txt", task="ner"))

    assert [image["prelabel"]["item_id"] for image in images_of(dataset)] == ["a.png"]


def test_a_file_name_that_is_no_utf8_survives(tmp_path: Path) -> None:
    name = "caf\udce9.png"

    coco.write([a_result("a")], {"a": (HEIGHT, WIDTH)}, {"a": name}, tmp_path / "coco.json")

    assert json.loads((tmp_path / "coco.json").read_bytes())["images"][0]["file_name"] == name


def test_an_image_whose_size_is_not_known_is_written_as_empty(tmp_path: Path) -> None:
    coco.write([a_result("a.png", an_annotation())], {}, {}, tmp_path / "coco.json")

    dataset = json.loads((tmp_path / "coco.json").read_text())
    assert [(image["height"], image["width"]) for image in dataset["images"]] == [(0, 0)]
    assert [annotation["bbox"] for annotation in dataset["annotations"]] == [[10.0, 20.0, 30.0, 40.0]]


SIDES = st.floats(0.0, 5000.0)


@given(st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES), min_size=1, max_size=5))
def test_any_boxes_come_back(corners: list[tuple[float, float, float, float]]) -> None:
    boxes = [(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in corners]

    dataset = written(
        a_result("a.png", *(an_annotation(str(i), geometry=Box(xyxy=box)) for i, box in enumerate(boxes)))
    )

    found = np.array([annotation["bbox"] for annotation in annotations_of(dataset)])
    found[:, 2:] += found[:, :2]
    assert np.allclose(found, boxes, atol=1e-6)


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_mask_comes_back(bitmap: np.ndarray) -> None:
    result = a_result("a.png", an_annotation(geometry=encode_mask(bitmap)), task="segmentation")
    with TemporaryDirectory() as folder:
        coco.write([result], {"a.png": bitmap.shape}, {}, Path(folder) / "coco.json")

        dataset = COCO(str(Path(folder) / "coco.json"))

    (annotation,) = annotations_of(dataset)
    assert np.array_equal(dataset.annToMask(annotation), bitmap)
    assert annotation["area"] == bitmap.sum()
