"""Tests that supervision and datumaro find in a Pascal VOC dataset what went into it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import encode_mask
from models.types import Annotation, Box, Polygon, WholeItem
from pipelines.formats import pascal_voc
from pipelines.formats.exported import LeftOut
from pipelines.formats.extents import boxes
from pipelines.formats.results import Result
from tests.pipelines.formats import nasty
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.image_dataset import read_voc, write
from tests.pipelines.formats.readers import Reader, reader

HEIGHT, WIDTH = 48, 64
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@pytest.fixture(scope="module")
def supervision() -> Iterator[Reader]:
    with reader("supervision", "supervision") as library:
        yield library


@pytest.fixture(scope="module")
def datumaro() -> Iterator[Reader]:
    with reader("datumaro", "pascal_voc") as library:
        yield library


def sized(id: str, *annotations: Annotation, size_hw: tuple[int, int] | None = (HEIGHT, WIDTH)) -> Result:
    return replace(a_result(id, *annotations), size_hw=size_hw)


def a_box(*xyxy: float, id: str = "0", label: str = "circle") -> Annotation:
    x1, y1, x2, y2 = xyxy
    return an_annotation(id, label=label, geometry=Box(xyxy=(x1, y1, x2, y2)))


def xml_of(out: Path, name: str = "a") -> str:
    return (out / "Annotations" / f"{name}.xml").read_text()


def corners(out: Path, name: str = "a") -> list[tuple[int, ...]]:
    found = re.findall(r"<xmin>(\d+)</xmin><ymin>(\d+)</ymin><xmax>(\d+)</xmax><ymax>(\d+)</ymax>", xml_of(out, name))
    return [tuple(map(int, box)) for box in found]


@pytest.mark.parametrize(
    ("xyxy", "pixels"),
    [
        ((0.0, 0.0, 64.0, 48.0), (1, 1, 64, 48)),
        ((3.0, 5.0, 4.0, 6.0), (4, 6, 4, 6)),
        ((2.4, 2.6, 9.4, 9.6), (3, 4, 9, 10)),
        ((2.1, 2.1, 2.2, 2.2), (3, 3, 3, 3)),
        ((63.8, 47.8, 64.0, 48.0), (64, 48, 64, 48)),
        ((-9.0, -1e300, 900.0, 5.0), (1, 1, 64, 5)),
    ],
)
def test_a_box_is_its_first_and_its_last_pixel_counted_from_1(
    tmp_path: Path, xyxy: tuple[float, ...], pixels: tuple[int, ...]
) -> None:
    write(pascal_voc, tmp_path, sized("a.png", a_box(*xyxy)))

    assert corners(tmp_path) == [pixels]
    assert ("<truncated>1<" in xml_of(tmp_path)) == (xyxy[0] < 0)


def test_supervision_finds_the_boxes_and_their_labels(tmp_path: Path, supervision: Reader) -> None:
    result = sized("shop/a.jpg", a_box(1.0, 2.0, 30.0, 40.0, label="square"), a_box(0.0, 0.0, 64.0, 48.0))

    write(pascal_voc, tmp_path, result)

    assert read_voc(supervision, tmp_path, [result])["shop/a.jpg"] == [
        {"label": "square", "xyxy": [1.0, 2.0, 30.0, 40.0], "mask": None},
        {"label": "circle", "xyxy": [0.0, 0.0, 64.0, 48.0], "mask": None},
    ]


def test_datumaro_finds_boxes_scores_and_the_label_map(tmp_path: Path, datumaro: Reader) -> None:
    sure = replace(
        a_box(1.0, 2.0, 30.0, 40.0, id="7", label="big square"), confidence=0.625, attributes={"soft_iou": 0.5}
    )

    write(pascal_voc, tmp_path, sized("shop/a b.jpg", sure), sized("c.png", a_box(0.0, 0.0, 1.0, 1.0)), sized("d.png"))

    found = datumaro.ask(path=str(tmp_path))
    assert found["labels"] == ["big square", "circle"]
    assert found["sizes"]["shop/a b"] == [HEIGHT, WIDTH]
    ((square,), (circle,), none) = (found["items"][name] for name in ("shop/a b", "c", "d"))
    assert (square["label"], square["xyxy"]) == ("big square", [1.0, 2.0, 30.0, 40.0])
    assert square["attributes"] == {
        "annotation_id": "7",
        "score": "0.625",
        "score_kind": "confidence",
        "route": "review",
        "soft_iou": "0.5",
        "difficult": False,
        "truncated": False,
        "occluded": False,
        "pose": "Unspecified",
    }
    assert (circle["attributes"]["score"], circle["attributes"]["score_kind"], none) == ("0.9", "score", [])


def test_an_image_says_where_it_is_from(tmp_path: Path) -> None:
    write(pascal_voc, tmp_path, sized("shop/a<&b.jpg"))

    written = xml_of(tmp_path, "shop/a%3C%26b")
    assert "<filename>shop/a%3C%26b.jpg</filename>" in written
    assert "<path>/data/shop/a&lt;&amp;b.jpg</path>" in written


def test_ids_of_one_stem_have_files_of_their_own(tmp_path: Path, supervision: Reader) -> None:
    results = [sized(f"a.{end}", a_box(0.0, 0.0, 8.0 + n, 8.0)) for n, end in enumerate(["jpg", "png", "JPG"])]

    write(pascal_voc, tmp_path, *results)

    found = read_voc(supervision, tmp_path, results)
    assert [found[result.id][0]["xyxy"][2] for result in results] == [8.0, 9.0, 10.0]


def test_an_image_of_two_tasks_has_the_objects_of_both(tmp_path: Path, supervision: Reader) -> None:
    first, second = sized("a.png", a_box(0.0, 0.0, 1.0, 1.0)), sized("a.png", a_box(0.0, 0.0, 2.0, 2.0))

    write(pascal_voc, tmp_path, first, sized("b.png"), replace(second, task="segmentation"))

    assert corners(tmp_path) == [(1, 1, 1, 1), (1, 1, 2, 2)]
    assert len(read_voc(supervision, tmp_path, [first, sized("b.png")])["a.png"]) == 2


def test_files_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        write(pascal_voc, tmp_path, sized("a.png", a_box(0.0, 0.0, 1.0, 1.0)))

    assert len(corners(tmp_path)) == 1


def test_nothing_found_is_an_image_without_objects_and_a_failed_item_none(tmp_path: Path) -> None:
    left_out = write(pascal_voc, tmp_path, sized("empty.png"), a_failure("broken.png"))

    assert [file.name for file in (tmp_path / "Annotations").iterdir()] == ["empty.xml"]
    assert "<object>" not in xml_of(tmp_path, "empty")
    assert left_out == {"items that failed": 1}


def test_an_image_of_unknown_size_keeps_its_boxes(tmp_path: Path) -> None:
    left_out = write(pascal_voc, tmp_path, sized("a.png", a_box(-1.0, 0.0, 900.0, 1.0), size_hw=None))

    assert corners(tmp_path) == [(1, 1, 900, 1)]
    assert "<width>0</width><height>0</height>" in xml_of(tmp_path)
    assert left_out == {}


def test_what_voc_cannot_hold_is_counted(tmp_path: Path) -> None:
    geometries = [
        *(Box(xyxy=(5.0, 5.0, 5.0, 9.0)), WholeItem(), encode_mask(np.zeros((HEIGHT, WIDTH), dtype=bool))),
        Polygon(points_xy=((0.0, 0.0), (8.0, 0.0), (8.0, 9.0))),
    ]
    objects = [an_annotation(str(i), geometry=geometry) for i, geometry in enumerate(geometries)]
    twin = replace(a_box(0.0, 0.0, 1.0, 1.0, id="9"), attributes={"score": 1.0})

    left_out = write(pascal_voc, tmp_path, sized("a.png", *objects, twin))

    assert corners(tmp_path) == [(1, 1, 8, 9), (1, 1, 1, 1)]
    assert left_out == {
        "objects without any area inside the image": 2,
        "labels of the whole image": 1,
        "outlines of objects that are written as boxes": 1,
        "attributes named as one of prelabel's": 1,
    }


def test_labels_that_the_label_map_cannot_name_are_counted_and_stay_with_their_boxes(
    tmp_path: Path, supervision: Reader
) -> None:
    labels = ["a:b", "#a", " a", "a\r\nb", "\x01", "\x02", "ok"]
    result = sized("a.png", *(a_box(0.0, 0.0, 1.0, 1.0, id=label, label=label) for label in labels))

    left_out = write(pascal_voc, tmp_path, result)

    assert left_out == {"labels that the label map cannot name": 5}
    names = [line.split(":")[0] for line in (tmp_path / "labelmap.txt").read_text().splitlines()]
    assert names == ["# label", "\ufffd", "ok"]
    found = [box["label"] for box in read_voc(supervision, tmp_path, [result])["a.png"]]
    assert found == ["a:b", "#a", " a", "a\r\nb", "\ufffd", "\ufffd", "ok"]


def test_ten_thousand_boxes_come_back_in_order(tmp_path: Path, supervision: Reader) -> None:
    lefts = [number * 5.0 for number in range(10_000)]
    result = sized("a.png", *(a_box(x, 0.0, x + 5.0, 1.0, id=str(x)) for x in lefts), size_hw=(1, 65_535))

    write(pascal_voc, tmp_path, result)

    assert [box["xyxy"][0] for box in read_voc(supervision, tmp_path, [result])["a.png"]] == lefts


@settings(max_examples=60)
@given(st.lists(nasty.image_results(), max_size=5, unique_by=lambda result: result.id))
def test_whatever_the_store_holds_is_read_back(supervision: Reader, results: list[Result]) -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()
        left_out = write(pascal_voc, out, *results)
        found = read_voc(supervision, out, results)

        assert [path.name for path in Path(folder).iterdir()] == ["out"]
        for item_id, expected in expected_boxes(results, left_out).items():
            assert [box["label"] for box in found[item_id]] == [label for label, _ in expected]
            for box, (_, xyxy) in zip(found[item_id], expected, strict=True):
                assert (np.abs(np.subtract(box["xyxy"], xyxy)) < 1.0).all()


def expected_boxes(results: list[Result], left_out: LeftOut) -> dict[str, list]:
    """The boxes of each image; nothing but what is counted may be missing."""
    count, expected = Counter[str](), dict[str, list]()
    for result in results:
        if result.status == "failed":
            count["items that failed"] += 1
        else:
            named = [(FORBIDDEN.sub("\ufffd", one.annotation.label), one.xyxy) for one in boxes(result, count)]
            expected[result.id] = [(label or "unnamed", xyxy) for label, xyxy in named]
    of_voc = {"labels that the label map cannot name", "attributes named as one of prelabel's"}
    assert {phrase: number for phrase, number in left_out.items() if phrase not in of_voc} == count
    return expected
