"""Tests what supervision has of a result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.errors import ConfigError, ItemError
from models.geometry import encode_mask
from models.types import Box, Polygon, WholeItem
from pipelines.formats.results import RESULT, Result
from serving.integrations.supervision import detections
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.readers import Reader, reader

L_SHAPE = np.zeros((48, 64), dtype=bool)
L_SHAPE[[3, 4, 4], [5, 5, 6]] = True


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("supervision", "detections_of") as supervision:
        yield supervision


def read(library: Reader, *results: Result, classes: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    return library.ask(results=[RESULT.dump_python(result, mode="json") for result in results], classes=classes)


def an_image(item_id: str, *annotations: Any, **changed: Any) -> Result:
    return replace(a_result(item_id, *annotations), size_hw=(48, 64), **changed)


def test_boxes_have_their_confidence_their_class_and_what_the_item_is_unsure_of(library: Reader) -> None:
    result = an_image(
        "a.png",
        an_annotation("0", label="dog", geometry=Box(xyxy=(1.5, 2.0, 10.25, 20.0)), score=0.25),
        an_annotation("1", label="cat", geometry=Box(xyxy=(0.0, 0.0, 4.0, 4.0)), score=0.5, confidence=0.75),
        uncertainty={"margin": 0.5, "least_confidence": 0.125},
    )

    found, _ = read(library, result, classes=("person", "dog"))

    assert found["xyxy"] == [[1.5, 2.0, 10.25, 20.0], [0.0, 0.0, 4.0, 4.0]]
    assert (found["confidence"], found["class_id"], found["masks"]) == ([0.25, 0.75], [1, 2], None)
    assert found["data"] == {
        "class_name": ["dog", "cat"],
        "annotation_id": ["0", "1"],
        "score_kind": ["score", "confidence"],
        "item_id": ["a.png", "a.png"],
        "uncertainty_margin": [0.5, 0.5],
        "uncertainty_least_confidence": [0.125, 0.125],
    }


def test_masks_are_those_of_the_model_and_a_box_beside_them_has_an_empty_one(library: Reader) -> None:
    result = an_image(
        "a.png",
        an_annotation("0", label="dog", geometry=Box(xyxy=(4.0, 2.0, 8.0, 6.0))),
        an_annotation("m", label="dog", geometry=encode_mask(L_SHAPE), parent_id="0"),
        an_annotation("1", label="cat", geometry=Box(xyxy=(0.0, 0.0, 4.0, 4.0))),
        an_annotation("w", label="indoor", geometry=WholeItem()),
    )

    found, _ = read(library, result)

    assert found["data"]["annotation_id"] == ["m", "1"]
    assert found["xyxy"] == [[5.0, 3.0, 7.0, 5.0], [0.0, 0.0, 4.0, 4.0]]
    assert found["masks"] == [[[3, 5], [4, 5], [4, 6]], []]


def test_a_polygon_is_filled(library: Reader) -> None:
    square = Polygon(points_xy=((2.0, 2.0), (6.0, 2.0), (6.0, 5.0), (2.0, 5.0)))

    found, _ = read(library, an_image("a.png", an_annotation("p", geometry=square)))

    assert [3, 4] in found["masks"][0]
    assert [10, 4] not in found["masks"][0]


def test_the_detections_of_many_images_can_be_merged_and_told_apart(library: Reader) -> None:
    one = an_image("a.png", an_annotation("0"), uncertainty={"margin": 0.25})
    other = an_image("b.png", an_annotation("0"), an_annotation("1"), uncertainty={"margin": 0.75})

    *_, merged = read(library, one, an_image("empty.png"), other)

    assert merged["data"]["item_id"] == ["a.png", "b.png", "b.png"]
    assert merged["data"]["uncertainty_margin"] == [0.25, 0.75, 0.75]


def test_nothing_found_is_empty(library: Reader) -> None:
    found, _ = read(library, an_image("empty.png"))

    assert (found["xyxy"], found["confidence"]) == ([], [])


def test_a_failure_is_not_taken_for_nothing_found() -> None:
    failed = a_failure("broken.png")
    assert failed.error is not None

    with pytest.raises(ItemError) as caught:
        detections(failed)

    assert caught.value.code == failed.error.code


def test_texts_and_recordings_have_no_detections() -> None:
    with pytest.raises(ConfigError, match="finds no objects in images"):
        detections(replace(a_result("a.txt"), task="ner"))


def test_without_supervision_it_is_said_what_to_install() -> None:
    with pytest.raises(ConfigError, match="install supervision"):
        detections(an_image("a.png", an_annotation("0")))
