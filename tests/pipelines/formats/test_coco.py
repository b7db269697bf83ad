"""Tests that COCO's own reader finds in the file what went into it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO

from models.geometry import encode_mask
from models.types import Annotation, Box, Item, Polygon, WholeItem
from pipelines.formats import coco
from pipelines.formats.exported import Exported, LeftOut, objects
from pipelines.formats.results import Result
from tests.pipelines.formats import nasty
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation

HEIGHT, WIDTH = 48, 64
SQUARE = np.zeros((HEIGHT, WIDTH), dtype=bool)
SQUARE[10:20, 30:50] = True


@dataclass(frozen=True, kw_only=True)
class Weakable(Exported):
    """An entry that can be watched going; with slots none can."""


def written(*results: Result, size_hw: tuple[int, int] | None = (HEIGHT, WIDTH)) -> COCO:
    """The results, written and read with pycocotools."""
    return written_with_count(*results, size_hw=size_hw)[0]


def written_with_count(*results: Result, size_hw: tuple[int, int] | None = (HEIGHT, WIDTH)) -> tuple[COCO, LeftOut]:
    sized = [result if result.status == "failed" else replace(result, size_hw=size_hw) for result in results]
    items = [Item(id=result.id, media="image", uri=f"images/{result.id}") for result in results]
    entries = (Exported(result=result, item=item) for result, item in zip(sized, items, strict=True))
    labels = sorted({annotation.label for result in results for annotation in result.annotations})
    with TemporaryDirectory() as folder:
        left_out = coco.write(entries, labels=labels, out=Path(folder))
        return COCO(str(Path(folder) / "coco.json")), left_out


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
    dataset, left_out = written_with_count(a_result("a.png", an_annotation()), a_result("a.txt", task="ner"))

    assert [image["prelabel"]["item_id"] for image in images_of(dataset)] == ["a.png"]
    assert left_out == {"texts and recordings": 1}


def test_a_file_name_that_is_no_utf8_survives() -> None:
    (image,) = images_of(written(a_result("caf\udce9.png")))

    assert image["file_name"] == "images/caf\udce9.png"


def test_the_id_stands_in_for_a_uri(tmp_path: Path) -> None:
    entry = Exported(result=a_result("a.png"), item=Item(id="a.png", media="image", data=b"..."))

    coco.write([entry], labels=[], out=tmp_path)

    assert [image["file_name"] for image in images_of(COCO(str(tmp_path / "coco.json")))] == ["a.png"]


def test_an_image_has_the_size_that_its_result_says() -> None:
    (image,) = images_of(written(a_result("a.png", an_annotation())))

    assert (image["height"], image["width"]) == (HEIGHT, WIDTH)


def test_an_image_without_a_known_size_has_that_of_its_mask() -> None:
    mask = an_annotation(geometry=encode_mask(SQUARE))

    (image,) = images_of(written(a_result("a.png", mask, task="segmentation"), size_hw=None))

    assert (image["height"], image["width"]) == (HEIGHT, WIDTH)


def test_an_image_whose_size_is_not_known_is_written_as_empty() -> None:
    dataset = written(a_result("a.png", an_annotation()), size_hw=None)

    assert [(image["height"], image["width"]) for image in images_of(dataset)] == [(0, 0)]
    assert [annotation["bbox"] for annotation in annotations_of(dataset)] == [[10.0, 20.0, 30.0, 40.0]]


def test_a_size_known_from_one_task_alone_is_the_images() -> None:
    box, mask = an_annotation(), an_annotation(geometry=encode_mask(SQUARE))

    results = a_failure("a.png"), a_result("a.png", mask, task="segmentation"), a_result("a.png", box)
    (image,) = images_of(written(*results, size_hw=None))

    assert (image["height"], image["width"]) == (HEIGHT, WIDTH)
    assert [outcome["status"] for outcome in image["prelabel"]["results"]] == ["failed", "labels", "labels"]


def test_a_polygon_of_two_points_has_no_outline_and_is_counted() -> None:
    line = Polygon(points_xy=((1.0, 2.0), (3.0, 5.0)))

    dataset, left_out = written_with_count(a_result("a.png", an_annotation(geometry=line), task="segmentation"))

    (annotation,) = annotations_of(dataset)
    assert (annotation["segmentation"], annotation["bbox"], annotation["area"]) == ([], [1.0, 2.0, 2.0, 3.0], 0.0)
    assert left_out == {"polygons of fewer than three points": 1}


def test_an_empty_run_is_an_empty_dataset() -> None:
    dataset = written()

    assert (dataset.imgs, dataset.anns, dataset.cats) == ({}, {}, {})


def test_ten_thousand_annotations_come_back_in_order() -> None:
    boxes = [an_annotation(str(i), geometry=Box(xyxy=(i, 0.0, i + 2.0, 1.0))) for i in range(10_000)]

    dataset = written(a_result("a.png", *boxes))

    assert [annotation["bbox"][0] for annotation in annotations_of(dataset)] == list(range(10_000))


def test_entries_are_taken_one_at_a_time(tmp_path: Path) -> None:
    alive, most = list[weakref.ref[Exported]](), 0

    def entries() -> Iterator[Exported]:
        nonlocal most
        for number in range(100):
            result = a_result(f"{number}.png", an_annotation())
            entry = Weakable(result=result, item=Item(id=result.id, media="image", uri="x"))
            alive.append(weakref.ref(entry))
            yield entry
            del entry
            most = max(most, sum(ref() is not None for ref in alive))

    coco.write(entries(), labels=["circle"], out=tmp_path)

    assert len(alive) == 100
    assert most <= 2


def test_the_same_entries_are_the_same_bytes(tmp_path: Path) -> None:
    entries = [Exported(result=a_result(name), item=Item(id=name, media="image", uri=name)) for name in "cab"]

    coco.write(entries, labels=[], out=tmp_path)
    first = (tmp_path / "coco.json").read_bytes()
    coco.write(entries, labels=[], out=tmp_path)

    assert (tmp_path / "coco.json").read_bytes() == first
    assert b"\r" not in first


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
    dataset = written(a_result("a.png", an_annotation(geometry=encode_mask(bitmap)), task="segmentation"))

    (annotation,) = annotations_of(dataset)
    assert np.array_equal(dataset.annToMask(annotation), bitmap)
    assert annotation["area"] == bitmap.sum()


@settings(max_examples=100)
@given(st.lists(nasty.image_results(), max_size=4))
def test_whatever_the_store_holds_comes_back(results: list[Result]) -> None:
    dataset = written(*results)

    found = [(a["prelabel"]["item_id"], a["prelabel"]["annotation_id"]) for a in annotations_of(dataset)]
    assert found == [(result.id, annotation.id) for result in results for annotation, _ in objects(result)]
    names = [dataset.cats[a["category_id"]]["name"] for a in annotations_of(dataset)]
    assert names == [annotation.label for result in results for annotation, _ in objects(result)]
    assert {image["prelabel"]["item_id"] for image in images_of(dataset)} == {result.id for result in results}
