"""Tests that supervision finds in a YOLO dataset the outlines that went into it, and that Ultralytics would take it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.geometry import encode_mask
from models.rings import filled
from models.types import Annotation, Geometry, Mask, Polygon, WholeItem
from pipelines.formats import yolo_segmentation
from pipelines.formats.exported import objects
from pipelines.formats.extents import image_size_hw
from pipelines.formats.results import Result
from tests.pipelines.formats import nasty
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.image_dataset import lines_of, read_yolo, write
from tests.pipelines.formats.readers import Reader, reader

HEIGHT, WIDTH = 24, 32
DISC = np.hypot(*np.mgrid[-11:13, -15:17]) < 10
RING = DISC & (np.hypot(*np.mgrid[-11:13, -15:17]) > 4)


@pytest.fixture(scope="module")
def supervision() -> Iterator[Reader]:
    with reader("supervision", "supervision") as library:
        yield library


def of_shapes(*geometries: Geometry, size_hw: tuple[int, int] | None = (HEIGHT, WIDTH)) -> Result:
    shapes = [an_annotation(str(number), geometry=geometry) for number, geometry in enumerate(geometries)]
    return replace(a_result("a.png", *shapes, task="segmentation"), size_hw=size_hw)


def outlines(file: Path, *, size_hw: tuple[int, int] = (HEIGHT, WIDTH)) -> list[np.ndarray]:
    """The points of every line in pixels, (n, 2) each."""
    lines = [line.split()[1:] for line in file.read_text().splitlines()]
    return [np.array(line, dtype=np.float64).reshape(-1, 2) * size_hw[::-1] for line in lines]


def bitmaps(file: Path, *, size_hw: tuple[int, int] = (HEIGHT, WIDTH)) -> list[np.ndarray]:
    return [filled(points, size_hw=size_hw) for points in outlines(file, size_hw=size_hw)]


def test_an_outline_is_a_ring_of_points_in_shares_of_the_image(tmp_path: Path) -> None:
    write(yolo_segmentation, tmp_path, of_shapes(Polygon(points_xy=((0.0, 0.0), (16.0, 0.0), (32.0, 6.0)))))

    assert (tmp_path / "labels" / "a.txt").read_text() == "0 0 0 0.5 0 1 0.25\n"
    assert (tmp_path / "predictions" / "a.txt").read_text() == "0 0 0 0.5 0 1 0.25 0.9\n"


def test_a_mask_is_outlined_along_the_edges_of_its_pixels(tmp_path: Path) -> None:
    square = np.zeros((HEIGHT, WIDTH), dtype=bool)
    square[6:12, 8:24] = True

    write(yolo_segmentation, tmp_path, of_shapes(encode_mask(square)))

    assert (tmp_path / "labels" / "a.txt").read_text() == "0 0.25 0.25 0.75 0.25 0.75 0.5 0.25 0.5\n"


@pytest.mark.parametrize(
    "bitmap", [DISC, RING, RING | np.eye(HEIGHT, WIDTH, dtype=bool)], ids=["disc", "hole", "parts"]
)
def test_a_mask_is_one_line_that_encloses_exactly_its_pixels(tmp_path: Path, bitmap: np.ndarray) -> None:
    write(yolo_segmentation, tmp_path, of_shapes(encode_mask(bitmap)))

    (found,) = bitmaps(tmp_path / "labels" / "a.txt")
    assert np.array_equal(found, bitmap)


@pytest.mark.parametrize("bitmap", [DISC, RING], ids=["disc", "hole"])
def test_supervision_finds_the_mask_but_for_the_edge_pixels_that_it_draws(
    tmp_path: Path, supervision: Reader, bitmap: np.ndarray
) -> None:
    result = of_shapes(encode_mask(bitmap))

    write(yolo_segmentation, tmp_path, result)

    (found,) = read_yolo(supervision, tmp_path, [result])["a.png"]
    drawn = np.array(found["mask"], dtype=bool)
    assert (drawn | ~bitmap).all()
    assert not (drawn & ~grown(bitmap)).any()


def grown(bitmap: np.ndarray) -> np.ndarray:
    """The bitmap, and a pixel more to the right, below and between, which are the pixels of points on its edges."""
    return bitmap | np.roll(bitmap, 1, axis=0) | np.roll(bitmap, 1, axis=1) | np.roll(bitmap, (1, 1), axis=(0, 1))


def test_a_polygon_is_cut_off_at_the_edges_of_the_image(tmp_path: Path) -> None:
    write(
        yolo_segmentation,
        tmp_path,
        of_shapes(Polygon(points_xy=((-9.0, -9.0), (8.0, -9.0), (8.0, 6.0), (-1e300, 6.0)))),
    )

    (points,) = outlines(tmp_path / "labels" / "a.txt")
    assert points.tolist() == [[0, 0], [8, 0], [8, 6], [0, 6]]


def test_what_has_no_outline_in_the_image_is_counted(tmp_path: Path) -> None:
    geometries = [
        *(encode_mask(np.zeros((HEIGHT, WIDTH), dtype=bool)), WholeItem(), an_annotation().geometry),
        *(Polygon(points_xy=()), Polygon(points_xy=((1.0, 1.0), (5.0, 5.0)))),
        Polygon(points_xy=((50.0, 1.0), (55.0, 1.0), (55.0, 5.0))),
    ]

    left_out = write(yolo_segmentation, tmp_path, of_shapes(*geometries), a_failure("b.png", task="segmentation"))

    assert (tmp_path / "labels" / "a.txt").read_bytes() == b""
    assert left_out == {
        "objects without any area inside the image": 4,
        "objects without an outline": 2,
        "items that failed": 1,
    }


def test_a_box_that_became_a_mask_is_not_missed(tmp_path: Path) -> None:
    box, mask = an_annotation("0"), an_annotation("m0", geometry=encode_mask(DISC), parent_id="0")

    left_out = write(yolo_segmentation, tmp_path, replace(of_shapes(), annotations=(box, mask)))

    assert left_out == {}


def test_polygons_of_an_image_of_unknown_size_are_counted(tmp_path: Path) -> None:
    triangle = Polygon(points_xy=((0.0, 0.0), (16.0, 0.0), (32.0, 6.0)))

    left_out = write(yolo_segmentation, tmp_path, of_shapes(triangle, size_hw=None))

    assert left_out == {"items whose image size is not known": 1}
    assert lines_of(tmp_path) == []


def test_ten_thousand_masks_come_back_in_order(tmp_path: Path) -> None:
    def pixel(number: int) -> Annotation:
        bitmap = np.zeros((100, 100), dtype=bool)
        bitmap.flat[number] = True
        return an_annotation(str(number), geometry=encode_mask(bitmap))

    write(yolo_segmentation, tmp_path, replace(of_shapes(), annotations=tuple(map(pixel, range(10_000)))))

    corners = [points[0] for points in outlines(tmp_path / "labels" / "a.txt", size_hw=(100, 100))]
    assert np.allclose(corners, np.argwhere(np.ones((100, 100)))[:, ::-1])


@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_any_mask_is_one_line_that_encloses_exactly_its_pixels(bitmap: np.ndarray) -> None:
    bitmap[0, 0] = True
    size_hw = bitmap.shape[0], bitmap.shape[1]
    with TemporaryDirectory() as folder:
        write(yolo_segmentation, Path(folder), of_shapes(encode_mask(bitmap), size_hw=size_hw))

        (found,) = bitmaps(Path(folder, "labels", "a.txt"), size_hw=size_hw)

    assert np.array_equal(found, bitmap)


@settings(max_examples=60)
@given(st.lists(nasty.image_results("segmentation"), max_size=5, unique_by=lambda result: result.id))
def test_whatever_the_store_holds_is_read_back(supervision: Reader, results: list[Result]) -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()
        left_out = write(yolo_segmentation, out, *results)
        found = read_yolo(supervision, out, results)
        names = yaml.safe_load((out / "data.yaml").read_text())["names"]

        assert [path.name for path in Path(folder).iterdir()] == ["out"]
        assert list(names.values()) == nasty.labels_of(results)
        check_as_ultralytics_does(out, class_count=len(names))
        written = [line["id"] for line in lines_of(out)]
        assert written == [r.id for r in results if r.status != "failed" and (image_size_hw(r) or not r.annotations)]
        lost = sum(number for phrase, number in left_out.items() if phrase.startswith("objects without"))
        all_objects = sum(len(list(objects(result))) for result in results if result.id in written)
        assert sum(len(found[item_id]) for item_id in written) == all_objects - lost
        for result in results:
            masks = [a.label for a, _ in objects(result) if isinstance(a.geometry, Mask) and not is_empty(a.geometry)]
            labels = [outline["label"] for outline in found.get(result.id, ())]
            assert all(labels.count(label) >= masks.count(label) for label in masks)


def is_empty(mask: Mask) -> bool:
    return mask == encode_mask(np.zeros(mask.size_hw, dtype=bool))


def check_as_ultralytics_does(out: Path, *, class_count: int) -> None:
    """What verify_image_label asserts of a file of outlines (ultralytics 8.4, data/utils.py)."""
    for file in (out / "labels").rglob("*.txt"):
        for line in file.read_text().splitlines():
            class_id, *numbers = line.split()
            assert 0 <= int(class_id) < class_count
            assert len(numbers) >= 6
            assert len(numbers) % 2 == 0
            assert all(0.0 <= float(number) <= 1.0 for number in numbers)
