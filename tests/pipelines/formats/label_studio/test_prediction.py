"""Tests that a prediction fits the project that it is for, and says no more than may be seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import encode_mask
from models.types import Box, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats.exported import Exported, LeftOut
from pipelines.formats.label_studio.binding import Binding, UnservableError
from pipelines.formats.label_studio.prediction import not_offered, prediction
from pipelines.formats.results import Result
from pipelines.types import Route
from tests.pipelines.formats.builders import an_annotation
from tests.pipelines.formats.entries import documents, images, recordings
from tests.pipelines.formats.label_studio.builders import (
    AUDIO,
    IMAGE,
    TEXT,
    a_binding,
    found,
    labelled,
    labels_tag,
    view,
)
from tests.pipelines.formats.readers import Reader, reader

BOX = Box(xyxy=(16.0, 12.0, 48.0, 24.0))
RECTANGLES = labels_tag("RectangleLabels", "box", "cat", "dog")


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("label_studio", "label_studio") as sdk:
        yield sdk


def predicted(
    binding: Binding, result: Result, *, text: str | None = None, left_out: LeftOut | None = None
) -> dict[str, Any]:
    return prediction(binding, labelled(result), model_version="m@1", text=text, left_out=left_out)


def test_what_the_project_does_not_offer_makes_no_item_unsure() -> None:
    cat = an_annotation("7", label="cat", geometry=BOX, score=0.75)
    chair = an_annotation("8", label="chair", geometry=BOX, score=0.125)
    binding, both = a_binding("detection", IMAGE, RECTANGLES), found("detection", cat, chair)

    assert predicted(binding, both)["score"] == 0.75
    assert predicted(binding, found("detection", chair))["score"] == predicted(binding, found("detection"))["score"]
    assert (not_offered(binding, both), not_offered(binding, found("detection", cat))) == (("chair",), ())


def test_a_region_has_the_names_of_the_project_and_the_id_of_the_annotation(library: Reader) -> None:
    cat = an_annotation("7", label="cat", geometry=BOX, score=0.5)

    made = predicted(a_binding("detection", IMAGE, RECTANGLES), found("detection", cat))

    assert made == {
        "model_version": "m@1",
        "score": 0.5,
        "result": [
            {
                "id": "7",
                "type": "rectanglelabels",
                "from_name": "box",
                "to_name": "img",
                "value": {
                    "x": 25.0,
                    "y": 25.0,
                    "width": 50.0,
                    "height": 25.0,
                    "rotation": 0,
                    "rectanglelabels": ["cat"],
                },
                "original_width": 64,
                "original_height": 48,
                "image_rotation": 0,
                "score": 0.5,
                "meta": {"score_kind": "score", "uncertainty": {"miss_risk": 0.2}},
            }
        ],
    }
    assert library.ask(config=view(IMAGE, RECTANGLES), predictions=[made])["errors"] == [[]]


def test_a_label_is_written_by_its_alias() -> None:
    control = labels_tag("RectangleLabels", "box", "Cat|K")

    (region,) = predicted(
        a_binding("detection", IMAGE, control), found("detection", an_annotation(label="cat", geometry=BOX))
    )["result"]

    assert region["value"]["rectanglelabels"] == ["K"]


def test_what_the_project_does_not_offer_is_left_out_and_counted() -> None:
    cat, bus = (an_annotation(label, label=label, geometry=BOX) for label in ("cat", "bus"))
    left_out = LeftOut()

    made = predicted(a_binding("detection", IMAGE, RECTANGLES), found("detection", cat, bus), left_out=left_out)

    assert [region["id"] for region in made["result"]] == ["cat"]
    assert left_out == {"labels that the interface does not offer": 1}


def test_a_pair_of_tool_and_labels_is_two_entries_of_one_id(library: Reader) -> None:
    tags = (IMAGE, '<Rectangle name="draw" toName="img"/>', labels_tag("Labels", "class", "cat"))

    made = predicted(a_binding("detection", *tags), found("detection", an_annotation("7", label="cat", geometry=BOX)))

    tool, label = made["result"]
    assert (tool["id"], tool["type"], tool["from_name"]) == ("7", "rectangle", "draw")
    assert (label["id"], label["type"], label["from_name"]) == ("7", "labels", "class")
    assert label["value"] == {**tool["value"], "labels": ["cat"]}
    assert library.ask(config=view(*tags), predictions=[made])["errors"] == [[]]


def a_mask() -> Mask:
    bitmap = np.zeros((48, 64), dtype=bool)
    bitmap[10:30, 10:30] = True
    bitmap[15:20, 15:20] = False
    bitmap[35:45, 40:60] = True
    bitmap[0, 0] = True
    return encode_mask(bitmap)


def test_a_mask_is_the_outlines_of_its_parts_where_there_are_only_polygons(library: Reader) -> None:
    control = labels_tag("PolygonLabels", "ring", "cat")

    made = predicted(
        a_binding("segmentation", IMAGE, control),
        found("segmentation", an_annotation("m", label="cat", geometry=a_mask())),
    )

    assert [region["id"] for region in made["result"]] == ["m", "m.part1"]  # the speck of one pixel is none
    corners = [{(x * 0.64, y * 0.48) for x, y in region["value"]["points"]} for region in made["result"]]
    assert [sorted((round(x), round(y)) for x, y in ring) for ring in corners] == [
        [(10, 10), (10, 30), (30, 10), (30, 30)],
        [(40, 35), (40, 45), (60, 35), (60, 45)],
    ]
    assert library.ask(config=view(IMAGE, control), predictions=[made])["errors"] == [[]]


def test_a_mask_is_the_box_around_it_where_there_are_only_rectangles() -> None:
    (region,) = predicted(
        a_binding("segmentation", IMAGE, RECTANGLES),
        found("segmentation", an_annotation(label="cat", geometry=a_mask())),
    )["result"]

    assert (region["value"]["x"], region["value"]["width"]) == (0.0, 93.75)


def test_a_box_that_a_mask_was_made_from_is_not_shown_beside_it() -> None:
    box = an_annotation("0", label="cat", geometry=BOX)
    mask = an_annotation("m0", label="cat", geometry=a_mask(), parent_id="0")
    binding = a_binding("segmentation", IMAGE, RECTANGLES, labels_tag("BrushLabels", "brush", "cat"))

    assert [r["type"] for r in predicted(binding, found("segmentation", box, mask))["result"]] == ["brushlabels"]


@pytest.mark.parametrize(
    "geometry",
    [
        Box(xyxy=(70.0, 0.0, 90.0, 10.0)),
        Box(xyxy=(5.0, 5.0, 5.0, 9.0)),
        Box(xyxy=(9.0, 5.0, 5.0, 9.0)),
        Box(xyxy=(float("nan"), 5.0, 5.0, 9.0)),
        Polygon(points_xy=((0.0, 0.0), (9.0, 9.0))),
        Polygon(points_xy=((0.0, -9.0), (9.0, -9.0), (9.0, -1.0))),
        Polygon(points_xy=((0.0, 0.0), (9.0, float("nan")), (9.0, 1.0))),
        encode_mask(np.zeros((48, 64), dtype=bool)),
    ],
)
def test_what_has_no_area_in_the_image_is_left_out(geometry: Box | Polygon | Mask) -> None:
    controls = (labels_tag(tag, tag, "cat") for tag in ("RectangleLabels", "PolygonLabels", "BrushLabels"))
    left_out = LeftOut()

    made = predicted(
        a_binding("segmentation", IMAGE, *controls),
        found("segmentation", an_annotation(label="cat", geometry=geometry)),
        left_out=left_out,
    )

    assert (made["result"], left_out) == ([], {"shapes without any area inside the image": 1})


@pytest.mark.parametrize(
    ("uncertainty", "confidence", "score"),
    [
        ({"miss_risk": 0.1}, None, 0.9),
        ({"miss_risk": 0.1, "nothing_found": 0.47}, None, 0.9),
        ({"nothing_found": 0.4}, None, 0.8),
        ({"nothing_found": 1.0}, None, 0.5),
        ({}, None, 0.5),
        ({"miss_risk": 0.1}, 0.7, 0.7),
    ],
)
def test_nothing_found_is_scored_by_what_may_have_been_missed(
    uncertainty: dict[str, float], confidence: float | None, score: float
) -> None:
    result = replace(found("detection", confidence=confidence), uncertainty=uncertainty)

    made = predicted(a_binding("detection", IMAGE, RECTANGLES), result)

    assert (made["score"], made["result"]) == (pytest.approx(score), [])


def test_an_item_without_labels_comes_after_one_with_a_doubtful_label() -> None:
    binding = a_binding("detection", IMAGE, RECTANGLES)
    doubtful = found("detection", an_annotation(label="cat", geometry=BOX, score=0.3))

    assert predicted(binding, doubtful)["score"] < predicted(binding, found("detection"))["score"]


@pytest.mark.parametrize(
    ("route", "is_blind", "shown"),
    [
        ("accept", False, 1),
        ("review", False, 1),
        ("audit", False, 1),
        ("review", True, 0),
        ("audit", True, 0),
        ("scratch", True, 0),
        ("scratch", False, 0),
    ],
)
def test_a_reviewer_who_must_not_see_the_pre_label_gets_none(route: Route, is_blind: bool, shown: int) -> None:
    result = found("detection", an_annotation(label="cat", geometry=BOX))
    assert result.decision
    result = replace(result, decision=replace(result.decision, route=route, is_blind=is_blind))

    made = predicted(a_binding("detection", IMAGE, RECTANGLES), result)

    assert len(made["result"]) == shown


@pytest.mark.parametrize(("choice", "labels", "score"), [("multiple", ["day", "night"], 0.4), ("single", ["day"], 0.8)])
def test_choices_of_the_whole_are_one_region(library: Reader, choice: str, labels: list[str], score: float) -> None:
    tags = (IMAGE, RECTANGLES, labels_tag("Choices", "when", "day", "night", choice=choice))
    whole = [
        an_annotation("0", label="night", geometry=WholeItem(), score=0.4),
        an_annotation("1", label="day", geometry=WholeItem(), score=0.8),
    ]

    made = predicted(a_binding("detection", *tags), found("detection", *whole))

    (region,) = made["result"]
    assert (region["from_name"], region["value"], region["score"]) == ("when", {"choices": labels}, score)
    assert library.ask(config=view(*tags), predictions=[made])["errors"] == [[]]


HELLO = an_annotation("0", label="speech", geometry=TimeSpan(start_s=0.5, end_s=9.0), text=" hello ", score=0.5)
WORD = an_annotation("0.0", label="word", geometry=TimeSpan(start_s=0.5, end_s=1.0), text="hello", parent_id="0")
BEFORE = an_annotation("1", label="speech", geometry=TimeSpan(start_s=0.0, end_s=0.4), text="oh", score=0.9)
WHO = labels_tag("Labels", "who", "Speech", to="snd")


def test_what_is_said_in_a_span_stands_beside_it(library: Reader) -> None:
    tags = (AUDIO, WHO, '<TextArea name="said" toName="snd" perRegion="true"/>')

    made = predicted(a_binding("speech", *tags), found("speech", HELLO, WORD, duration_s=3.0))

    span, said = made["result"]
    assert (span["id"], span["from_name"], span["value"]["labels"], span["value"]["end"]) == ("0", "who", ["Speech"], 3)
    assert (said["id"], said["from_name"], said["value"]["text"]) == ("0", "said", [" hello "])
    assert library.ask(config=view(*tags), predictions=[made])["errors"] == [[]]


def test_what_is_said_in_the_whole_is_one_text_in_the_order_of_time(library: Reader) -> None:
    tags = (AUDIO, '<TextArea name="all" toName="snd"/>')

    made = predicted(a_binding("speech", *tags), found("speech", HELLO, WORD, BEFORE))

    (region,) = made["result"]
    assert (region["type"], region["value"], region["score"]) == ("textarea", {"text": ["oh hello"]}, 0.5)
    assert library.ask(config=view(*tags), predictions=[made])["errors"] == [[]]


def test_spans_count_code_points(library: Reader) -> None:
    text = "👩‍👧 é\r\nAda Varga left."
    tags = (TEXT, labels_tag("Labels", "who", "person", to="txt"))

    made = predicted(
        a_binding("ner", *tags),
        found("ner", an_annotation(label="person", geometry=TextSpan(start=7, end=16))),
        text=text,
    )

    (region,) = made["result"]
    assert region["value"] == {"start": 7, "end": 16, "text": "Ada Varga", "labels": ["person"]}
    assert library.ask(config=view(*tags), predictions=[made])["errors"] == [[]]


@pytest.mark.parametrize("span", [(0, 0), (0, 4), (-1, 2), (2, 1)])
def test_a_span_that_marks_nothing_of_the_text_is_left_out(span: tuple[int, int]) -> None:
    binding = a_binding("ner", TEXT, labels_tag("Labels", "who", "person", to="txt"))
    annotation = an_annotation(label="person", geometry=TextSpan(start=span[0], end=span[1]))

    assert predicted(binding, found("ner", annotation), text="Ada")["result"] == []


def test_attributes_travel_and_calibrated_regions_keep_the_models_own_score() -> None:
    attributes = cast(dict[str, str | float | int | bool], {"stability": 0.9, "odd": float("nan"), "by": "a\0"})
    cat = replace(an_annotation(label="cat", geometry=BOX, score=0.4, confidence=0.7), attributes=attributes)

    (region,) = predicted(a_binding("detection", IMAGE, RECTANGLES), found("detection", cat))["result"]

    assert region["score"] == 0.7
    assert region["meta"] == {
        "score_kind": "confidence",
        "model_score": 0.4,
        "stability": 0.9,
        "by": "a\ufffd",
        "uncertainty": {"miss_risk": 0.2},
    }


def test_what_library_refuses_is_found_out(library: Reader) -> None:
    """The test below would pass with a judge that takes everything."""
    made = predicted(a_binding("detection", IMAGE, RECTANGLES), found("detection", an_annotation(label="cat")))
    for key, value in (("x", 100.0001), ("rectanglelabels", ["cow"])):
        (region,) = made["result"]
        broken = {**made, "result": [{**region, "value": {**region["value"], key: value}}]}
        assert library.ask(config=view(IMAGE, RECTANGLES), predictions=[broken])["errors"] != [[]]


_LABELS = ("aZ", "0", "é", "Speech")
_PAIRED = labels_tag("Labels", "class", *_LABELS)
_DRAWN = (
    *(labels_tag(tag, tag, *_LABELS) for tag in ("RectangleLabels", "PolygonLabels", "BrushLabels")),
    *(f'<{tag} name="{tag}" toName="img"/>{_PAIRED}' for tag in ("Rectangle", "Polygon", "Brush")),
    '<BrushLabels name="dynamic" toName="img" value="$labels"/>',
)
_BESIDE = (
    labels_tag("RectangleLabels", "first", "aZ"),
    labels_tag("BrushLabels", "second", "0", "é|alias"),
    labels_tag("KeyPointLabels", "kp", *_LABELS),
    labels_tag("Choices", "many", *_LABELS, choice="multiple"),
    labels_tag("Choices", "one", *_LABELS),
)


@pytest.mark.parametrize("control", _DRAWN)
@pytest.mark.parametrize(
    "geometry", [BOX, a_mask(), Polygon(points_xy=((-9.0, 1.0), (50.0, -3.0), (99.0, 99.0), (1.0, 47.0)))]
)
def test_every_control_takes_every_shape_but_a_brush_no_box(
    library: Reader, control: str, geometry: Box | Mask | Polygon
) -> None:
    binding, left_out = a_binding("segmentation", IMAGE, control), LeftOut()

    made = predicted(binding, found("segmentation", an_annotation(label="aZ", geometry=geometry)), left_out=left_out)

    is_refused = geometry == BOX and "Brush" in control
    assert (bool(made["result"]), left_out.total()) == (not is_refused, is_refused)
    assert library.ask(config=view(IMAGE, control), predictions=[made])["errors"] == [[]]


_MARKED = (labels_tag("Labels", "l", *_LABELS, to="txt"), labels_tag("Labels", "alias", "aZ|A", to="txt"))
_BESIDE_TEXT = (labels_tag("Choices", "many", *_LABELS, to="txt", choice="multiple"),)
_HEARD = (labels_tag("Labels", "l", *_LABELS, to="snd"), '<TextArea name="all" toName="snd"/>')
_BESIDE_AUDIO = (
    labels_tag("Choices", "one", *_LABELS, to="snd"),
    '<TextArea name="said" toName="snd" perRegion="true"/>',
)
_PROJECTS = (
    (IMAGE, _DRAWN, _BESIDE, images()),
    (TEXT, _MARKED, _BESIDE_TEXT, documents()),
    (AUDIO, _HEARD, _BESIDE_AUDIO, recordings()),
)
_inside = st.floats(0.0, 40.0)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[tuple[str, ...], Exported]:
    """A project, and an item of its medium whose labels often are those of the project."""
    source, mains, beside, entries = draw(st.sampled_from(_PROJECTS))
    entry = draw(entries.filter(lambda entry: entry.result.status != "failed"))
    annotations = list(entry.result.annotations)
    if source == IMAGE and draw(st.booleans()):
        x, y, width, height = (draw(_inside) for _ in range(4))
        annotations.append(an_annotation("box", geometry=Box(xyxy=(x, y, x + width, y + height))))
    labels = [draw(st.sampled_from([*_LABELS, "AZ", annotation.label])) for annotation in annotations]
    renamed = tuple(replace(a, label=b) for a, b in zip(annotations, labels, strict=True))
    entry = replace(entry, result=replace(entry.result, annotations=renamed))
    return (
        source,
        draw(st.sampled_from(mains)),
        *draw(st.lists(st.sampled_from(beside), unique=True, max_size=2)),
    ), entry


@settings(max_examples=150)
@given(_cases())
def test_whatever_a_store_holds_and_a_project_takes_is_valid(
    library: Reader, case: tuple[tuple[str, ...], Exported]
) -> None:
    tags, entry = case
    result = entry.result
    try:
        binding = a_binding(result.task, *tags)
    except UnservableError:
        return

    made = predicted(binding, result, text=entry.text)

    json.dumps(made, allow_nan=False)
    assert made["score"] is not None
    assert library.ask(config=view(*tags), predictions=[made])["errors"] == [[]]
    for region in made["result"]:
        assert all(0.0 <= number <= 100.0 for number in percents(region["value"]))


def percents(value: dict[str, Any]) -> list[float]:
    sides = [value[name] for name in ("x", "y", "width", "height") if name in value]
    return sides + [side for point in value.get("points", ()) for side in point]
