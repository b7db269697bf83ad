"""Tests the rules that all formats share."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import Box, Item, Mask
from pipelines.formats.exported import Exported, certainty, labelled, objects, safe_path
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation

texts = st.text(alphabet=st.characters(), max_size=300)


@given(texts, texts)
def test_different_ids_have_different_paths(one: str, other: str) -> None:
    assert (safe_path(one) == safe_path(other)) == (one == other)


@given(texts)
def test_a_path_stays_below_its_folder_and_within_what_file_systems_take(item_id: str) -> None:
    path = safe_path(item_id)

    assert not path.is_absolute()
    assert path.parts
    for part in path.parts:
        assert part not in (".", "..", "")
        assert len(part.encode()) <= 200
        assert not any(sign in part for sign in '\\:*?"<>|\x00\n')


@pytest.mark.parametrize(
    ("item_id", "path"),
    [("a/b.jpg", "a/b.jpg"), ("../etc", "%2E%2E/etc"), ("/abs", "%00/abs"), ("ü.png", "%C3%BC.png"), ("50%", "50%25")],
)
def test_an_ordinary_id_stays_readable(item_id: str, path: str) -> None:
    assert safe_path(item_id).as_posix() == path


def test_a_box_that_became_a_mask_is_no_object_of_its_own() -> None:
    box, other = an_annotation("0"), an_annotation("1", geometry=Box(xyxy=(0.0, 0.0, 1.0, 1.0)))
    mask = an_annotation("m0", geometry=Mask(size_hw=(2, 2), counts="04"), parent_id="0")

    found = list(objects(a_result("a", box, other, mask)))

    assert found == [(other, None), (mask, box)]


def test_items_that_failed_are_counted() -> None:
    left_out = Counter[str]()
    entries = [
        Exported(result=result, item=Item(id=result.id, media="image", uri="x"))
        for result in (a_failure("bad"), a_result("good"))
    ]

    assert [entry.item.id for entry in labelled(entries, left_out)] == ["good"]
    assert left_out == {"items that failed": 1}


def test_a_confidence_goes_before_a_score() -> None:
    assert certainty(an_annotation(score=0.5, confidence=0.25)) == (0.25, "confidence")
    assert certainty(an_annotation(score=0.5)) == (0.5, "score")
