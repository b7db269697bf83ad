"""Tests that Pillow finds in PNG masks the class and the object of every pixel."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.geometry import encode_mask
from models.types import Annotation, Box, Geometry, Polygon, WholeItem
from pipelines.formats import png_masks
from pipelines.formats.exported import certainty, objects
from pipelines.formats.extents import image_size_hw
from pipelines.formats.results import Result
from tests.pipelines.formats import nasty
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.image_dataset import lines_of, write

HEIGHT, WIDTH = 6, 8


def a_mask(
    rows: slice,
    columns: slice,
    id: str = "0",
    *,
    label: str = "circle",
    score: float = 0.9,
    confidence: float | None = None,
) -> Annotation:
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=bool)
    bitmap[rows, columns] = True
    return an_annotation(id, label=label, geometry=encode_mask(bitmap), score=score, confidence=confidence)


def of(*annotations: Annotation, id: str = "a.png", size_hw: tuple[int, int] | None = (HEIGHT, WIDTH)) -> Result:
    return replace(a_result(id, *annotations, task="segmentation"), size_hw=size_hw)


def of_shapes(*geometries: Geometry) -> Result:
    return of(*(an_annotation(str(number), geometry=geometry) for number, geometry in enumerate(geometries)))


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image)


def classes(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "classes.json").read_text())


def test_each_pixel_has_the_number_of_its_class_and_of_its_object(tmp_path: Path) -> None:
    square, circle = a_mask(slice(0, 2), slice(0, 3), "s", label="square"), a_mask(slice(4, 6), slice(5, 8), "c")

    write(png_masks, tmp_path, of(square, circle))

    shown, numbers = pixels(tmp_path / "classes" / "a.png"), pixels(tmp_path / "instances" / "a.png")
    assert (shown.dtype, numbers.dtype) == (np.uint8, np.uint16)
    assert (shown[:2, :3] == 2).all()
    assert (shown[4:, 5:] == 1).all()
    assert (numbers[:2, :3] == 1).all()
    assert (numbers[4:, 5:] == 2).all()
    assert np.count_nonzero(shown) == np.count_nonzero(numbers) == 12


def test_classes_are_shown_in_the_colours_that_the_list_says(tmp_path: Path) -> None:
    write(
        png_masks,
        tmp_path,
        of(a_mask(slice(0, 2), slice(0, 3), label="a"), a_mask(slice(3, 4), slice(0, 3), label="b")),
    )

    with Image.open(tmp_path / "classes" / "a.png") as image:
        assert image.mode == "P"
        seen = np.array(image.convert("RGB"))
    assert ["#" + bytes(seen[row, 0]).hex() for row in (0, 3, 5)] == [
        *(one["colour"] for one in classes(tmp_path)),
        "#000000",
    ]
    assert [(one["number"], one["name"]) for one in classes(tmp_path)] == [(1, "a"), (2, "b")]


def test_the_list_of_images_says_what_each_number_stands_for(tmp_path: Path) -> None:
    mask = replace(a_mask(slice(0, 2), slice(0, 3), "m0", score=0.75), attributes={"stability": 0.5})

    write(png_masks, tmp_path, of(mask, a_mask(slice(5, 6), slice(0, 1), "m1", confidence=0.25), id="shop/a.png"))

    (line,) = lines_of(tmp_path)
    assert (line["classes"], line["instances"]) == ("classes/shop/a.png", "instances/shop/a.png")
    assert (line["id"], line["uri"], line["route"]) == ("shop/a.png", "/data/shop/a.png", "review")
    assert line["objects"][0] == {
        "number": 1,
        "class": 1,
        "annotation_id": "m0",
        "score": 0.75,
        "score_kind": "score",
        "text": None,
        "attributes": {"stability": 0.5},
        "area_px": 6,
        "hidden_px": 0,
    }
    assert (line["objects"][1]["score"], line["objects"][1]["score_kind"]) == (0.25, "confidence")


def test_the_surest_lies_on_top_and_what_it_hides_is_counted(tmp_path: Path) -> None:
    sure = a_mask(slice(0, 2), slice(0, 4), "sure", score=0.5, confidence=0.9)
    unsure = a_mask(slice(0, 1), slice(2, 8), "unsure", score=0.99, confidence=0.2)
    buried = a_mask(slice(1, 2), slice(0, 1), "buried", score=0.1)

    left_out = write(png_masks, tmp_path, of(sure, unsure, buried))

    numbers = pixels(tmp_path / "instances" / "a.png")
    assert numbers[0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert 3 not in numbers
    assert [(one["area_px"], one["hidden_px"]) for one in lines_of(tmp_path)[0]["objects"]] == [(8, 0), (6, 2), (1, 1)]
    assert left_out == {"pixels hidden under surer objects": 3}


def test_of_equally_sure_objects_the_first_lies_on_top(tmp_path: Path) -> None:
    write(png_masks, tmp_path, of(a_mask(slice(0, 2), slice(0, 4), "0"), a_mask(slice(0, 2), slice(2, 6), "1")))

    assert pixels(tmp_path / "instances" / "a.png")[0].tolist() == [1, 1, 1, 1, 2, 2, 0, 0]


def test_a_polygon_has_the_pixels_whose_centres_it_encloses(tmp_path: Path) -> None:
    write(png_masks, tmp_path, of_shapes(Polygon(points_xy=((1.4, -9.0), (3.6, -9.0), (3.6, 2.0), (1.4, 2.0)))))

    numbers = pixels(tmp_path / "instances" / "a.png")
    assert np.argwhere(numbers).tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3]]


@pytest.mark.parametrize(("count", "dtype"), [(254, np.uint8), (255, np.uint16)])
def test_many_classes_take_16_bits(tmp_path: Path, count: int, dtype: type) -> None:
    masks = [
        a_mask(slice(number // WIDTH % HEIGHT, None), slice(number % WIDTH, None), str(number), label=f"{number:04}")
        for number in range(count)
    ]

    write(png_masks, tmp_path, of(*reversed(masks)))

    shown = pixels(tmp_path / "classes" / "a.png")
    assert shown.dtype == dtype
    assert shown[0, 0] == count - count % (HEIGHT * WIDTH) + 1
    with Image.open(tmp_path / "classes" / "a.png") as image:
        assert image.mode == ("P" if dtype is np.uint8 else "I;16")


def test_what_has_no_pixels_is_counted(tmp_path: Path) -> None:
    geometries = [
        *(encode_mask(np.zeros((HEIGHT, WIDTH), dtype=bool)), encode_mask(np.ones((3, 3), dtype=bool))),
        *(WholeItem(), Box(xyxy=(0.0, 0.0, 2.0, 2.0))),
        *(Polygon(points_xy=()), Polygon(points_xy=((50.0, 1.0), (55.0, 1.0), (55.0, 5.0)))),
    ]

    left_out = write(png_masks, tmp_path, of_shapes(*geometries), a_failure("b.png", task="segmentation"))

    assert lines_of(tmp_path)[0]["objects"] == []
    assert left_out == {
        "objects without any area inside the image": 3,
        "masks of another size than their image": 1,
        "objects without an outline": 2,
        "items that failed": 1,
    }


def test_nothing_found_is_all_background(tmp_path: Path) -> None:
    left_out = write(png_masks, tmp_path, of())

    assert not pixels(tmp_path / "classes" / "a.png").any()
    assert pixels(tmp_path / "instances" / "a.png").shape == (HEIGHT, WIDTH)
    assert left_out == {}


def test_an_image_of_unknown_size_is_counted(tmp_path: Path) -> None:
    left_out = write(png_masks, tmp_path, of(size_hw=None))

    assert left_out == {"items whose image size is not known": 1}
    assert lines_of(tmp_path) == []


def test_an_image_that_comes_again_is_counted(tmp_path: Path) -> None:
    left_out = write(png_masks, tmp_path, of(a_mask(slice(0, 2), slice(0, 4))), of())

    assert left_out == {"further results of an image": 1}
    assert pixels(tmp_path / "classes" / "a.png").any()


def test_ids_of_one_stem_have_files_of_their_own(tmp_path: Path) -> None:
    write(png_masks, tmp_path, of(a_mask(slice(0, 1), slice(0, 1)), id="a.jpg"), of(id="a.png"))

    assert [pixels(tmp_path / line["classes"]).any() for line in lines_of(tmp_path)] == [True, False]


def test_the_same_results_are_the_same_bytes(tmp_path: Path) -> None:
    def written(out: Path) -> dict[str, bytes]:
        out.mkdir()
        write(png_masks, out, of(a_mask(slice(0, 2), slice(0, 4)), a_mask(slice(1, 3), slice(2, 6), "1", label="b")))
        return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*.*")}

    assert written(tmp_path / "one") == written(tmp_path / "other")


def test_ten_thousand_objects_have_a_number_each(tmp_path: Path) -> None:
    def pixel(number: int) -> Annotation:
        bitmap = np.zeros((100, 100), dtype=bool)
        bitmap.flat[number] = True
        return an_annotation(str(number), geometry=encode_mask(bitmap))

    write(png_masks, tmp_path, of(*map(pixel, range(10_000)), size_hw=(100, 100)))

    assert pixels(tmp_path / "instances" / "a.png").ravel().tolist() == list(range(1, 10_001))


@settings(max_examples=60)
@given(st.lists(nasty.image_results("segmentation"), max_size=5, unique_by=lambda result: result.id))
def test_whatever_the_store_holds_is_read_back(results: list[Result]) -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()
        left_out = write(png_masks, out, *results)

        assert [path.name for path in Path(folder).iterdir()] == ["out"]
        assert [one["name"] for one in classes(out)] == nasty.labels_of(results)
        written = {result.id: result for result in results if result.status != "failed" and image_size_hw(result)}
        assert [line["id"] for line in lines_of(out)] == list(written)
        for line in lines_of(out):
            check_image(out, line, written[line["id"]])
        hidden = sum(one["hidden_px"] for line in lines_of(out) for one in line["objects"])
        assert left_out["pixels hidden under surer objects"] == hidden


def check_image(out: Path, line: dict[str, Any], result: Result) -> None:
    shown, numbers = pixels(out / line["classes"]), pixels(out / line["instances"])
    annotations = {annotation.id: annotation for annotation, _ in objects(result)}
    assert shown.shape == numbers.shape == image_size_hw(result)
    assert set(np.unique(numbers).tolist()) <= {0, *(one["number"] for one in line["objects"])}
    assert not shown[numbers == 0].any()
    for one in line["objects"]:
        annotation = annotations[one["annotation_id"]]
        assert (shown[numbers == one["number"]] == one["class"]).all()
        assert classes(out)[one["class"] - 1]["name"] == annotation.label
        assert (one["score"], one["score_kind"]) == certainty(annotation)
        assert np.count_nonzero(numbers == one["number"]) == one["area_px"] - one["hidden_px"]
