"""Checks that results become the shapes that CVAT's labels take, and that cvat-sdk's own mapper takes these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.geometry import decode_mask, encode_mask
from models.types import Annotation, Box, Geometry, Polygon, TextSpan, WholeItem
from pipelines.formats.results import RESULT, Result
from pipelines.types import Route
from serving.integrations.cvat.attribute import Attribute
from serving.integrations.cvat.label import Label
from serving.integrations.cvat.mask_code import decoded
from serving.integrations.cvat.payload import Payload
from serving.integrations.cvat.shape import Shape, Wanted, shapes
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.readers import Reader, reader

SQUARE = np.zeros((48, 64), dtype=bool)
SQUARE[10:20, 30:50] = True
TRIANGLE = Polygon(points_xy=((1.0, 1.0), (20.0, 1.0), (1.0, 20.0)))
BOX = Box(xyxy=(1.5, 2.0, 10.25, 20.0))


@pytest.fixture(scope="module")
def cvat_sdk() -> Iterator[Reader]:
    with reader("cvat", "cvat") as library:
        yield library


def of(*annotations: Annotation) -> Result:
    return replace(a_result("a.png", *annotations, task="segmentation"), size_hw=(48, 64))


def drawn(geometry: Geometry, kind: str, *, conv: bool = False) -> list[Shape]:
    labels = {"cat": Label(id=3, name="cat", type=kind)}
    return shapes(of(an_annotation(label="cat", geometry=geometry)), labels, wanted=Wanted(conv_mask_to_poly=conv))


def a_label(kind: str, *, id_: int, name: str, attributes: tuple[str, ...] = ()) -> dict[str, Any]:
    own = [
        {"id": 10 * id_ + n, "name": one, "input_type": "text", "values": [], "mutable": False, "default_value": ""}
        for n, one in enumerate(attributes)
    ]
    return {"id": id_, "name": name, "type": kind, "attributes": own, "sublabels": [], "has_parent": False}


@pytest.mark.parametrize(("route", "is_blind"), [("review", True), ("audit", True), ("scratch", False)])
def test_what_a_person_is_to_label_from_nothing_has_no_shapes(route: Route, is_blind: bool) -> None:
    shown = of(an_annotation(label="cat"))
    assert shown.decision is not None
    labels, left_out = {"cat": Label(id=1, name="cat")}, Counter[str]()

    hidden = replace(shown, decision=replace(shown.decision, route=route, is_blind=is_blind))

    assert len(shapes(shown, labels, wanted=Wanted())) == 1
    assert shapes(hidden, labels, wanted=Wanted(), left_out=left_out) == []
    assert left_out == {"items to be labelled from nothing": 1}


def test_the_calibrated_confidence_goes_before_the_models_score() -> None:
    found = of(an_annotation("0", label="cat", score=0.9, confidence=0.25), an_annotation("1", label="cat", score=0.9))

    [sure, unsure] = shapes(found, {"cat": Label(id=1, name="cat")}, wanted=Wanted())

    assert (sure.score, unsure.score) == (0.25, 0.9)


def test_a_threshold_keeps_what_reaches_it_by_the_same_number() -> None:
    found = of(
        an_annotation("0", label="cat", score=0.9, confidence=0.25),
        an_annotation("1", label="cat", score=0.5),
        an_annotation("2", label="cat", score=0.49),
    )

    kept = shapes(found, {"cat": Label(id=1, name="cat")}, wanted=Wanted(conf_threshold=0.5))

    assert [shape.score for shape in kept] == [0.5]


@pytest.mark.parametrize(
    ("kind", "geometry", "type_", "points"),
    [
        ("any", BOX, "rectangle", (1.5, 2.0, 10.25, 20.0)),
        ("polygon", BOX, "polygon", (1.5, 2.0, 10.25, 2.0, 10.25, 20.0, 1.5, 20.0)),
        ("any", TRIANGLE, "polygon", (1.0, 1.0, 20.0, 1.0, 1.0, 20.0)),
        ("rectangle", TRIANGLE, "rectangle", (1.0, 1.0, 20.0, 20.0)),
        ("rectangle", encode_mask(SQUARE), "rectangle", (30.0, 10.0, 50.0, 20.0)),
        ("polygon", encode_mask(SQUARE), "polygon", (30.0, 10.0, 50.0, 10.0, 50.0, 20.0, 30.0, 20.0)),
        ("any", encode_mask(SQUARE), "mask", (0.0, 200.0, 30.0, 10.0, 49.0, 19.0)),
        ("any", WholeItem(), "tag", ()),
        ("tag", BOX, "tag", ()),
    ],
)
def test_a_geometry_becomes_the_shape_that_the_label_takes(
    kind: str, geometry: Geometry, type_: str, points: tuple[float, ...]
) -> None:
    [shape] = drawn(geometry, kind)

    assert (shape.type, shape.points) == (type_, points)


def test_masks_become_polygons_where_that_is_asked() -> None:
    assert [shape.type for shape in drawn(encode_mask(SQUARE), "any", conv=True)] == ["polygon"]
    assert [shape.type for shape in drawn(encode_mask(SQUARE), "mask", conv=True)] == ["polygon"]
    assert [shape.type for shape in drawn(BOX, "any", conv=True)] == ["rectangle"]


def test_a_polygon_becomes_a_mask_of_the_pixels_inside() -> None:
    [shape] = drawn(Polygon(points_xy=((30, 10), (50, 10), (50, 20), (30, 20))), "mask")

    assert np.array_equal(decoded(shape.points, size_hw=(48, 64)), SQUARE)


@pytest.mark.parametrize(
    ("kind", "geometry", "said"),
    [
        ("mask", BOX, "boxes where the label takes mask"),
        ("rectangle", WholeItem(), "labels of the whole image where the label takes rectangle"),
        ("points", BOX, "boxes where the label takes points"),
        ("any", encode_mask(np.zeros((48, 64), dtype=bool)), "masks where the label takes any"),
        ("any", TextSpan(start=0, end=1), "spans of text where the label takes any"),
    ],
)
def test_what_no_shape_stands_for_is_left_out_and_counted(kind: str, geometry: Geometry, said: str) -> None:
    left_out = Counter[str]()
    labels = {"cat": Label(id=1, name="cat", type=kind)}

    found = shapes(
        of(an_annotation(label="cat", geometry=geometry), an_annotation("1", label="dog")),
        labels,
        wanted=Wanted(),
        left_out=left_out,
    )

    assert found == []
    assert left_out == {said: 1, "objects of the label 'dog', which is not asked for": 1}


def test_an_image_has_one_tag_of_a_label_however_many_objects_it_shows() -> None:
    found = of(*(an_annotation(str(n), label="cat", score=score) for n, score in enumerate((0.2, 0.8, 0.5))))

    [tag] = shapes(found, {"cat": Label(id=1, name="cat", type="tag")}, wanted=Wanted())

    assert tag.score == 0.8


def test_a_box_that_a_mask_was_made_from_is_no_object_of_its_own() -> None:
    found = of(
        an_annotation("0", label="cat", geometry=BOX),
        an_annotation("m0", label="cat", geometry=encode_mask(SQUARE), parent_id="0"),
    )

    assert [shape.type for shape in shapes(found, {"cat": Label(id=1, name="cat")}, wanted=Wanted())] == ["mask"]


def test_a_failed_item_has_no_shapes() -> None:
    assert shapes(a_failure(), {"cat": Label(id=1, name="cat")}, wanted=Wanted()) == []


@pytest.mark.parametrize(
    ("input_type", "values", "value", "written"),
    [
        ("text", (), 0.5, "0.5"),
        ("text", (), True, "true"),
        ("checkbox", (), True, "true"),
        ("checkbox", (), "FALSE", "false"),
        ("checkbox", (), "yes", None),
        ("number", ("0", "10", "2"), 4, "4"),
        ("number", ("0", "10", "2"), 4.0, "4"),
        ("number", ("0", "10", "2"), 5, None),
        ("number", ("0", "10", "2"), 4.5, None),
        ("number", ("0", "10", "2"), 12, None),
        ("number", ("0", "10", "2"), True, None),
        ("number", ("0", "10", "2"), float("nan"), None),
        ("number", ("0", "10", "2"), "four", None),
        ("select", ("red", "blue"), "red", "red"),
        ("radio", ("red", "blue"), "green", None),
    ],
)
def test_an_attribute_takes_only_what_its_kind_allows(
    input_type: Any, values: tuple[str, ...], value: Any, written: str | None
) -> None:
    assert Attribute(id=1, name="a", input_type=input_type, values=values).written(value) == written


def test_attributes_say_what_the_label_has_a_place_for() -> None:
    own = (Attribute(id=7, name="score"), Attribute(id=8, name="score_kind"), Attribute(id=9, name="colour"))
    cat = replace(an_annotation(label="cat", confidence=0.25), attributes={"colour": "red", "size": 3})

    [shape] = shapes(of(cat), {"cat": Label(id=1, name="cat", attributes=own)}, wanted=Wanted())

    assert shape.attributes == {7: "0.25", 8: "confidence", 9: "red"}


EVERYTHING = (
    an_annotation("0", label="box", geometry=BOX, score=0.125),
    an_annotation("1", label="poly", geometry=TRIANGLE, confidence=0.25),
    an_annotation("2", label="mask", geometry=encode_mask(SQUARE), score=0.5),
    an_annotation("3", label="tag", geometry=WholeItem(), score=0.75),
)
FUNCTION_LABELS = [
    a_label("rectangle", id_=0, name="box", attributes=("score", "score_kind")),
    a_label("polygon", id_=1, name="poly", attributes=("score", "score_kind")),
    a_label("mask", id_=2, name="mask"),
    a_label("tag", id_=3, name="tag", attributes=("score",)),
]


def task_labels(**kinds: str) -> list[dict[str, Any]]:
    return [
        a_label(
            str(kinds.get(own["name"], own["type"])),
            id_=100 + own["id"],
            name=own["name"],
            attributes=tuple(one["name"] for one in own["attributes"]),
        )
        for own in FUNCTION_LABELS
    ]


def mapped(cvat_sdk: Reader, *, labels: Any = FUNCTION_LABELS, task: Any = None, **asked: Any) -> dict[str, Any]:
    results = [RESULT.dump_python(of(*EVERYTHING), mode="json")]
    return cvat_sdk.ask(action="map", results=results, labels=labels, task_labels=task or task_labels(), **asked)


def test_cvat_sdks_own_mapper_takes_every_kind_of_shape_with_its_score(cvat_sdk: Reader) -> None:
    found = mapped(cvat_sdk)

    assert [(shape["type"], shape["label_id"], shape["score"]) for shape in found["shapes"]] == [
        ("rectangle", 100, 0.125),
        ("polygon", 101, 0.25),
        ("mask", 102, 0.5),
    ]
    assert [(tag["label_id"], tag["frame"], tag["source"]) for tag in found["tags"]] == [(103, 7, "auto")]
    assert {shape["source"] for shape in found["shapes"]} == {"auto"}
    assert {shape["frame"] for shape in found["shapes"]} == {7}
    assert found["shapes"][0]["attributes"] == [
        {"spec_id": 1000, "value": "0.125"},
        {"spec_id": 1001, "value": "score"},
    ]
    assert found["tags"][0]["attributes"] == [{"spec_id": 1030, "value": "0.75"}]


def test_labels_of_any_type_are_taken_too(cvat_sdk: Reader) -> None:
    any_labels = [own | {"type": "any"} for own in FUNCTION_LABELS]
    any_task = [own | {"type": "any"} for own in task_labels()]

    found = mapped(cvat_sdk, labels=any_labels, task=any_task)

    assert [shape["type"] for shape in found["shapes"]] == ["rectangle", "polygon", "mask"]
    assert len(found["tags"]) == 1


def test_the_mapper_takes_polygons_in_place_of_masks_and_what_reaches_the_threshold(cvat_sdk: Reader) -> None:
    found = mapped(cvat_sdk, conv_mask_to_poly=True, conf_threshold=0.25, task=task_labels(mask="polygon"))

    assert [(shape["type"], shape["score"]) for shape in found["shapes"]] == [("polygon", 0.25), ("polygon", 0.5)]


@pytest.mark.parametrize("spoil", [{"id": 1}, {"source": "manual"}, {"frame": 3}, {"label_id": 99}])
def test_the_mapper_would_say_so_if_a_shape_were_wrong(cvat_sdk: Reader, spoil: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="BadFunctionError"):
        mapped(cvat_sdk, spoil=spoil)


def test_cvat_sdk_reads_a_masks_pixels_back(cvat_sdk: Reader) -> None:
    noise = np.random.default_rng(0).random((48, 64)) < 0.4
    [shape] = drawn(encode_mask(noise), "mask")

    pixels = cvat_sdk.ask(action="decode", points=shape.points, size_hw=(48, 64))

    assert np.array_equal(np.array(pixels, dtype=bool), noise)


def test_the_rest_payload_is_what_cvat_sdk_would_have_sent(cvat_sdk: Reader) -> None:
    task = task_labels()
    by_name = {own["name"]: own for own in task}
    labels = {
        name: Label(
            id=own["id"],
            name=name,
            type=own["type"],
            attributes=tuple(Attribute(id=one["id"], name=one["name"]) for one in own["attributes"]),
        )
        for name, own in by_name.items()
    }
    payload = Payload()

    payload.add(7, shapes(of(*EVERYTHING), labels, wanted=Wanted()))

    assert payload.as_json() == mapped(cvat_sdk)


def test_a_mask_and_its_polygon_are_one_shape_each_even_in_parts() -> None:
    parts = SQUARE.copy()
    parts[30:40, 5:15] = True

    [mask], [polygon] = drawn(encode_mask(parts), "any"), drawn(encode_mask(parts), "polygon")

    assert np.array_equal(decoded(mask.points, size_hw=(48, 64)), decode_mask(encode_mask(parts)))
    assert polygon.type == "polygon"
