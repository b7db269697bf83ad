"""Tests that supervision finds in a YOLO dataset the boxes that went into it, and that Ultralytics would take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import encode_mask
from models.types import Annotation, Box, Polygon, WholeItem
from pipelines.formats import yolo_detection
from pipelines.formats.exported import LeftOut
from pipelines.formats.extents import boxes, image_size_hw
from pipelines.formats.results import Result
from tests.pipelines.formats import nasty
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.image_dataset import lines_of, read_yolo, write
from tests.pipelines.formats.readers import Reader, reader

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def supervision() -> Iterator[Reader]:
    with reader("supervision", "supervision") as library:
        yield library


def sized(id: str, *annotations: Annotation, size_hw: tuple[int, int] | None = (HEIGHT, WIDTH)) -> Result:
    return replace(a_result(id, *annotations), size_hw=size_hw)


def a_box(*xyxy: float, id: str = "0", label: str = "circle") -> Annotation:
    x1, y1, x2, y2 = xyxy
    return an_annotation(id, label=label, geometry=Box(xyxy=(x1, y1, x2, y2)))


def rows(file: Path) -> list[list[float]]:
    return [[float(number) for number in line.split()] for line in file.read_text().splitlines()]


def test_a_box_is_a_centre_and_sides_in_shares_of_the_image(tmp_path: Path) -> None:
    write(yolo_detection, tmp_path, sized("a.png", a_box(16.0, 12.0, 48.0, 24.0)))

    assert (tmp_path / "labels" / "a.txt").read_text() == "0 0.5 0.375 0.5 0.25\n"


def test_supervision_finds_the_boxes_and_their_labels(tmp_path: Path, supervision: Reader) -> None:
    result = sized("drop/a.jpg", a_box(1.5, 2.0, 30.25, 40.0, label="square"), a_box(0.0, 0.0, 64.0, 48.0))

    write(yolo_detection, tmp_path, result)

    square, circle = read_yolo(supervision, tmp_path, [result])["drop/a.jpg"]
    assert (square["label"], circle["label"]) == ("square", "circle")
    assert np.allclose([square["xyxy"], circle["xyxy"]], [[1.5, 2.0, 30.25, 40.0], [0, 0, 64, 48]], atol=1e-4)


def test_certainties_stand_at_the_end_of_the_same_lines_in_a_folder_of_their_own(tmp_path: Path) -> None:
    calibrated = replace(a_box(16.0, 12.0, 48.0, 24.0), score=0.9, confidence=0.625)

    write(yolo_detection, tmp_path, sized("a.png", calibrated, a_box(0.0, 0.0, 64.0, 48.0, id="1")))

    labels, predictions = rows(tmp_path / "labels" / "a.txt"), rows(tmp_path / "predictions" / "a.txt")
    assert [row[:5] for row in predictions] == labels
    assert [row[5] for row in predictions] == [0.625, 0.9]
    assert lines_of(tmp_path)[0]["score_kinds"] == ["confidence", "score"]


def test_the_list_of_images_says_where_each_comes_from(tmp_path: Path) -> None:
    write(yolo_detection, tmp_path, sized("shop/a.JPG", a_box(1.0, 1.0, 2.0, 2.0)))

    assert lines_of(tmp_path) == [
        {
            "image": "images/shop/a.JPG",
            "labels": "labels/shop/a.txt",
            "id": "shop/a.JPG",
            "uri": "/data/shop/a.JPG",
            "task": "detection",
            "route": "review",
            "score_kinds": ["score"],
        }
    ]


def test_ids_of_one_stem_have_files_of_their_own(tmp_path: Path, supervision: Reader) -> None:
    results = [sized(f"a.{end}", a_box(0.0, 0.0, 8.0 + n, 8.0)) for n, end in enumerate(["jpg", "png", "JPG"])]

    write(yolo_detection, tmp_path, *results)

    found = read_yolo(supervision, tmp_path, results)
    assert [found[result.id][0]["xyxy"][2] for result in results] == pytest.approx([8.0, 9.0, 10.0])


def test_ultralytics_finds_the_labels_of_an_image_in_a_folder_named_images(tmp_path: Path) -> None:
    write(yolo_detection, tmp_path, sized("images/a.jpg", a_box(1.0, 1.0, 2.0, 2.0)))

    image = str(tmp_path / lines_of(tmp_path)[0]["image"])
    before, after = image.rsplit("/images/", 1)  # img2label_paths in ultralytics' data/utils.py
    assert Path(f"{before}/labels/{after}").with_suffix(".txt").exists()


def test_a_folder_named_like_a_file_of_labels_stands_in_no_way(tmp_path: Path, supervision: Reader) -> None:
    results = [sized("a", a_box(0.0, 0.0, 8.0, 8.0)), sized("a.txt/b.jpg", a_box(0.0, 0.0, 9.0, 8.0))]

    write(yolo_detection, tmp_path, *results)

    found = read_yolo(supervision, tmp_path, results)
    assert [found[result.id][0]["xyxy"][2] for result in results] == pytest.approx([8.0, 9.0])


def test_an_image_of_two_tasks_has_one_file(tmp_path: Path) -> None:
    box = sized("a.png", a_box(1.0, 1.0, 2.0, 2.0))

    write(yolo_detection, tmp_path, box, sized("b.png"), replace(box, task="segmentation"))

    assert len(rows(tmp_path / "labels" / "a.txt")) == 2
    assert [line["task"] for line in lines_of(tmp_path)] == ["detection", "detection", "segmentation"]


def test_files_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        write(yolo_detection, tmp_path, sized("a.png", a_box(1.0, 1.0, 2.0, 2.0)))

    assert len(rows(tmp_path / "labels" / "a.txt")) == 1


def test_nothing_found_is_an_empty_file_and_a_failed_item_none(tmp_path: Path) -> None:
    left_out = write(yolo_detection, tmp_path, sized("empty.png", size_hw=None), a_failure("broken.png"))

    assert [file.name for file in (tmp_path / "labels").iterdir()] == ["empty.txt"]
    assert (tmp_path / "labels" / "empty.txt").read_bytes() == b""
    assert left_out == {"items that failed": 1}


def test_a_box_ends_at_the_edges_of_the_image(tmp_path: Path) -> None:
    write(yolo_detection, tmp_path, sized("a.png", a_box(-16.0, 24.0, 32.0, 1e300)))

    assert rows(tmp_path / "labels" / "a.txt") == [[0.0, 0.25, 0.75, 0.5, 0.5]]


def test_what_is_no_box_in_the_image_is_counted(tmp_path: Path) -> None:
    geometries = [
        *(Box(xyxy=(5.0, 5.0, 5.0, 9.0)), Box(xyxy=(70.0, 5.0, 80.0, 9.0)), Box(xyxy=(9.0, 5.0, 5.0, 9.0))),
        *(WholeItem(), Polygon(points_xy=()), encode_mask(np.zeros((HEIGHT, WIDTH), dtype=bool))),
        Polygon(points_xy=((0.0, 0.0), (8.0, 0.0), (8.0, 9.0))),
    ]
    objects = [an_annotation(str(i), geometry=geometry) for i, geometry in enumerate(geometries)]
    rich = replace(a_box(1.0, 1.0, 2.0, 2.0, id="9"), attributes={"a": 1, "b": 2}, text="TAXI")

    left_out = write(yolo_detection, tmp_path, sized("a.png", *objects, rich))

    assert len(rows(tmp_path / "labels" / "a.txt")) == 2
    assert left_out == {
        "objects without any area inside the image": 5,
        "labels of the whole image": 1,
        "outlines of objects that are written as boxes": 1,
        "attributes": 2,
        "texts of objects": 1,
    }


def test_boxes_of_an_image_of_unknown_size_are_counted(tmp_path: Path) -> None:
    left_out = write(yolo_detection, tmp_path, sized("a.png", a_box(1.0, 1.0, 2.0, 2.0), size_hw=None))

    assert left_out == {"items whose image size is not known": 1}
    assert lines_of(tmp_path) == []


def test_ten_thousand_boxes_come_back_in_order(tmp_path: Path, supervision: Reader) -> None:
    lefts = np.arange(10_000) * 5.0
    result = sized("a.png", *(a_box(x, 0.0, x + 5.0, 1.0, id=str(x)) for x in lefts), size_hw=(1, 65_535))

    write(yolo_detection, tmp_path, result)

    found = read_yolo(supervision, tmp_path, [result])["a.png"]
    assert np.allclose([box["xyxy"][0] for box in found], lefts, atol=0.02)  # supervision reads float32


@settings(max_examples=60)
@given(st.lists(nasty.image_results(), max_size=5, unique_by=lambda result: result.id))
def test_whatever_the_store_holds_is_read_back(supervision: Reader, results: list[Result]) -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()
        left_out = write(yolo_detection, out, *results)
        found = read_yolo(supervision, out, results)
        names = yaml.safe_load((out / "data.yaml").read_text())["names"]

        assert [path.name for path in Path(folder).iterdir()] == ["out"]
        assert list(names.values()) == nasty.labels_of(results)
        check_as_ultralytics_does(out, class_count=len(names))
        for item_id, size_hw, expected in expected_boxes(results, left_out):
            assert [box["label"] for box in found[item_id]] == [label for label, _ in expected]
            allowed = 1e-5 * max(size_hw)
            assert np.allclose([box["xyxy"] for box in found[item_id]], [xyxy for _, xyxy in expected], atol=allowed)


def expected_boxes(results: list[Result], left_out: LeftOut) -> Iterator[tuple[str, tuple[int, int], list]]:
    """Id, size and boxes of each image that must be there; nothing but what is counted may be missing."""
    count = Counter[str]()
    for result in results:
        if result.status == "failed":
            count["items that failed"] += 1
        elif (size_hw := image_size_hw(result)) or not result.annotations:
            boxed = list(boxes(result, count))
            yield result.id, size_hw or (1, 1), [(one.annotation.label, one.xyxy) for one in boxed]
    assert all(left_out[phrase] >= number for phrase, number in count.items())


def check_as_ultralytics_does(out: Path, *, class_count: int) -> None:
    """What verify_image_label asserts of a file of boxes (ultralytics 8.4, data/utils.py)."""
    for file in (out / "labels").rglob("*.txt"):
        for row in rows(file):
            assert len(row) == 5
            assert 0 <= row[0] < class_count
            assert all(0.0 <= number <= 1.0 for number in row[1:])
