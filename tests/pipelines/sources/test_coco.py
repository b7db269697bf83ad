"""Checks which of a COCO file's images become which items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import ConfigError
from models.types import Item
from pipelines.sources import Source
from pipelines.types import Failed
from tests.pipelines.sources.builders import ids, items, opened

AN_IMAGE = {
    "license": 4,
    "file_name": "val/000000397133.jpg",
    "coco_url": "http://images.cocodataset.org/val2017/000000397133.jpg",
    "height": 427,
    "width": 640,
    "date_captured": "2013-11-14 17:02:52",
    "id": 397133,
}


def written(folder: Path, *images: Any, **others: Any) -> Path:
    parts = {"info": {"year": 2017}, "licenses": [{"id": 4}], **others, "images": images, "annotations": [{"id": 1}]}
    (folder / "instances.json").write_text(json.dumps(parts))
    return folder / "instances.json"


def listed(folder: Path, *images: Any, **options: Any) -> Source:
    return opened(written(folder, *images), **options)


def test_an_image_is_an_item_by_its_files_name(tmp_path: Path) -> None:
    source = listed(tmp_path, AN_IMAGE)

    [item] = items(source)

    assert item == Item(
        id="val/000000397133.jpg",
        media="image",
        uri=f"{tmp_path}/val/000000397133.jpg",
        meta={
            "coco_id": "397133",
            "license": "4",
            "coco_url": "http://images.cocodataset.org/val2017/000000397133.jpg",
            "height": "427",
            "width": "640",
            "date_captured": "2013-11-14 17:02:52",
        },
    )
    assert source.identity()["kind"] == "coco"


@pytest.mark.parametrize(
    ("base", "wanted"),
    [
        ("../images", "{folder}/../images/a.jpg"),
        ("/mnt/images", "/mnt/images/a.jpg"),
        ("s3://drops/x", "s3://drops/x/a.jpg"),
    ],
)
def test_a_base_is_where_the_images_are(base: str, wanted: str, tmp_path: Path) -> None:
    [item] = items(listed(tmp_path, {"id": 1, "file_name": "a.jpg"}, base=base))

    assert (item.id, item.uri) == ("a.jpg", wanted.format(folder=tmp_path))


def test_an_address_takes_the_place_of_a_missing_name(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "", "coco_url": "http://example.com/1.jpg", "flickr_url": "http://example.com/f"},
        {"id": 2, "flickr_url": "http://example.com/2.jpg"},
        {"flickr_url": "http://example.com/3.jpg"},
    ]

    found = items(listed(tmp_path, *images))

    assert [(item.id, item.uri) for item in found] == [
        ("image 1", "http://example.com/1.jpg"),
        ("image 2", "http://example.com/2.jpg"),
        ("images[2]", "http://example.com/3.jpg"),
    ]


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (5, "is a int"),
        ({}, "none of file_name"),
        ({"id": 1, "file_name": None}, "none of file_name"),
        ({"id": 1, "file_name": 7}, "'file_name' holds a int"),
        ({"id": 1, "file_name": "a\0.jpg"}, "NUL"),
        ({"id": 1, "file_name": "\udfff.jpg"}, "no JSON"),
    ],
)
def test_a_bad_image_is_one_bad_entry(image: Any, why: str, tmp_path: Path) -> None:
    good = {"file_name": "a.jpg"}

    first, bad, last = listed(tmp_path, good, image, good).entries()

    assert ids([first, bad, last]) == ["a.jpg", "images[1]: invalid_entry", "a.jpg"]
    assert isinstance(bad, Failed)
    assert why in bad.failure.message


def test_annotations_may_stand_before_the_images(tmp_path: Path) -> None:
    annotations = [{"id": n, "segmentation": [[1.5, 2.5]], "note": 'a "]} b'} for n in range(1000)]

    source = opened(written(tmp_path, {"file_name": "a.jpg"}, annotations=annotations))

    assert ids(source.entries()) == ["a.jpg"]


def test_a_file_without_images_says_so(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"shapes": []}')

    with pytest.raises(ConfigError, match="got no object with 'images'"):
        list(opened(tmp_path / "other.json").entries())


def test_images_are_nothing_for_texts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lists images"):
        listed(tmp_path, AN_IMAGE, task="ner")


def test_a_file_that_was_cut_says_from_where_on_it_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"images": [{"file_name": "a.jpg"}, {"file_name": "b')

    assert ids(opened(tmp_path / "cut.json").entries()) == ["a.jpg", "cut.json from byte 52: invalid_entry"]
