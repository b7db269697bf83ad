"""Tests that what someone points at in the editor asks a model for the object there."""

from __future__ import annotations

from typing import Any

import pytest

from models.types import BoxPrompt, PointPrompt, Prompts
from pipelines.formats.label_studio.context import prompts
from tests.pipelines.formats.label_studio.builders import IMAGE, TEXT, a_binding, labels_tag

BINDING = a_binding("segmentation", IMAGE, labels_tag("BrushLabels", "brush", "Car", "Bus"))


def a_click(
    x: float, y: float, *, label: str | None = "Car", is_positive: bool | None = True, to: str = "img"
) -> dict[str, Any]:
    """As Label Studio 1.23.2 sends a click with the key point tool into an image of 64 × 48 pixels."""
    labels = [] if label is None else [label]
    return {
        "original_width": 64,
        "original_height": 48,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.35, "labels": labels, "keypointlabels": labels},
        "id": "fBWv1t0S2L",
        "from_name": "kp",
        "to_name": to,
        "type": "keypointlabels",
        "origin": "manual",
    } | ({} if is_positive is None else {"is_positive": is_positive})


def a_box(**value: float) -> dict[str, Any]:
    place = {"x": 25.0, "y": 25.0, "width": 50.0, "height": 25.0, "rotation": 0} | value
    return a_click(0, 0) | {"type": "rectanglelabels", "value": {**place, "rectanglelabels": ["Car"]}}


def test_a_click_is_a_point_in_pixels() -> None:
    asked = prompts(BINDING, {"result": [a_click(50.0, 25.0)]})

    assert asked == Prompts(points=(PointPrompt(points_xy=((32.0, 12.0),), is_foreground=(True,), label="Car"),))


def test_the_points_of_a_label_are_one_object_with_what_is_not_of_it() -> None:
    clicks = [
        a_click(0, 0),
        a_click(100, 100, is_positive=False),
        a_click(50, 50, label="Bus"),
        a_click(50, 0, is_positive=None),
    ]

    car, bus = prompts(BINDING, {"result": clicks}).points

    assert (car.points_xy, car.is_foreground) == (((0.0, 0.0), (64.0, 48.0), (32.0, 0.0)), (True, False, True))
    assert (bus.label, bus.is_foreground) == ("Bus", (True,))


def test_a_rectangle_is_a_box() -> None:
    assert prompts(BINDING, {"result": [a_box()]}).boxes == (BoxPrompt(xyxy=(16.0, 12.0, 48.0, 24.0), label="Car"),)


def test_a_turned_rectangle_is_the_box_around_it() -> None:
    (box,) = prompts(BINDING, {"result": [a_box(rotation=90.0, width=25.0)]}).boxes

    assert box.xyxy == pytest.approx((4.0, 12.0, 16.0, 28.0))


def test_a_click_beside_the_image_is_at_its_edge() -> None:
    (prompt,) = prompts(BINDING, {"result": [a_click(-1.0, 101.0)]}).points

    assert prompt.points_xy == ((0.0, 48.0),)


def test_the_size_is_the_given_one_where_the_region_has_none() -> None:
    click = {key: value for key, value in a_click(50.0, 50.0).items() if not key.startswith("original")}

    assert prompts(BINDING, {"result": [click]}) == Prompts()
    assert prompts(BINDING, {"result": [click]}, size_hw=(10, 20)).points[0].points_xy == ((10.0, 5.0),)


def test_an_object_without_a_label_has_a_name_all_the_same() -> None:
    assert prompts(BINDING, {"result": [a_click(1.0, 1.0, label=None)]}).points[0].label == "object"


@pytest.mark.parametrize(
    ("tags", "label"),
    [
        ([labels_tag("RectangleLabels", "box", "Car"), labels_tag("BrushLabels", "brush", "Road")], "Car"),
        ([labels_tag("BrushLabels", "brush", "Road")], "Road"),  # nothing else can be drawn
        ([labels_tag("BrushLabels", "brush", "Road", "Sky")], "Car"),  # nobody knows which
        ([labels_tag("BrushLabels", "brush", "Road"), labels_tag("PolygonLabels", "outline", "Sky")], "Car"),
        ([labels_tag("BrushLabels", "brush", "Road|r")], "r"),
    ],
)
def test_what_is_pointed_at_is_given_under_a_label_that_can_be_drawn(tags: list[str], label: str) -> None:
    binding = a_binding("segmentation", IMAGE, labels_tag("KeyPointLabels", "kp", "Car"), *tags)

    assert [point.label for point in prompts(binding, {"result": [a_click(1.0, 1.0)]}).points] == [label]
    assert [box.label for box in prompts(binding, {"result": [a_box()]}).boxes] == [label]


def test_objects_of_two_labels_stay_two_under_the_only_label_that_can_be_drawn() -> None:
    binding = a_binding("segmentation", IMAGE, labels_tag("BrushLabels", "brush", "Road"))

    found = prompts(binding, {"result": [a_click(1.0, 1.0, label="Car"), a_click(9.0, 9.0, label="Bus")]})

    assert [point.label for point in found.points] == ["Road", "Road"]


@pytest.mark.parametrize(
    "context",
    [
        None,
        {},
        {"result": None},
        {"result": "x"},
        {"result": [None, 7, {}]},
        {"result": [a_click(1.0, 1.0, to="other")]},
        {"result": [a_click(float("nan"), 1.0)]},
        {"result": [a_box(width=0.0)]},
        {"result": [a_click(1.0, 1.0) | {"type": "polygonlabels"}]},
    ],
)
def test_what_is_no_point_and_no_box_asks_for_nothing(context: Any) -> None:
    assert prompts(BINDING, context) == Prompts()


def test_the_context_of_a_text_asks_for_nothing() -> None:
    binding = a_binding("ner", TEXT, labels_tag("Labels", "who", "PER", to="txt"))

    assert prompts(binding, {"result": [], "text": "Zürich"}) == Prompts()
