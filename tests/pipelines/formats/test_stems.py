"""Tests that every image has files of its own, named as readers look for them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import Item
from pipelines.formats.stems import Stem, Stems
from tests.pipelines.formats import nasty


def claim(stems: Stems, item_id: str, *, uri: str | None = None) -> Stem:
    return stems.claim(Item(id=item_id, media="image", uri=uri))


def names(*item_ids: str) -> list[str]:
    with Stems(".txt", reserved=frozenset({"images"})) as stems:
        return [claim(stems, item_id).name for item_id in item_ids]


def test_a_stem_is_the_id_without_the_suffix_of_an_image() -> None:
    assert names("shop/a.jpg", "b.JPEG", "scan.v2", "c") == ["shop/a", "b", "scan.v2", "c"]


@pytest.mark.parametrize(
    ("item_id", "uri", "suffix"),
    [
        ("a.JPG", "s3://b/a.png", ".JPG"),
        ("a", "https://x.org/a.png?size=1.jpg#f", ".png"),
        ("a", "https://[/a.webp", ".webp"),
        ("a", None, ""),
    ],
)
def test_the_suffix_is_that_of_the_id_or_of_the_uri(item_id: str, uri: str | None, suffix: str) -> None:
    with Stems(".txt") as stems:
        assert claim(stems, item_id, uri=uri).suffix == suffix


def test_ids_of_one_stem_keep_their_suffix_but_for_the_first() -> None:
    assert names("a.jpg", "a.png", "a.png.jpg", "A.JPG", "a.jpg") == ["a", "a.png", "a.png.jpg", "A.JPG", "a"]


def test_an_image_that_comes_again_is_not_new() -> None:
    with Stems(".txt") as stems:
        found = [claim(stems, item_id).is_new for item_id in ("a.jpg", "a.png", "a.jpg", "a.png")]

    assert found == [True, True, False, False]


def test_a_folder_that_would_stand_in_a_files_way_is_written_otherwise() -> None:
    assert names("a.txt/b.jpg", "a.JPG/b.jpg", "images/b.jpg", "a.d/b.jpg") == [
        "a%2Etxt/b",
        "a%2EJPG/b",
        "%69mages/b",
        "a.d/b",
    ]


def test_a_path_longer_than_a_system_takes_is_a_digest(tmp_path: Path) -> None:
    (name, other) = names("ü/" * 2000 + "a.jpg", "ü/" * 2000 + "b.jpg")

    (tmp_path / name).touch()
    assert name != other
    assert "/" not in name


@given(st.lists(nasty.IDS, unique=True, max_size=12))
def test_all_images_and_their_files_fit_into_one_folder(item_ids: list[str]) -> None:
    with TemporaryDirectory() as folder, Stems(".txt") as stems:
        found = [claim(stems, item_id) for item_id in item_ids]
        files = [Path(folder, f"{stem.name}{suffix}") for stem in found for suffix in (stem.suffix or ".png", ".txt")]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(exist_ok=False)

        assert len({stem.name.lower() for stem in found}) == len(item_ids)
        assert all(Path(folder) in file.resolve().parents for file in files)
