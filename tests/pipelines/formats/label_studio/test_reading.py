"""Tests that what a human left in Label Studio comes back as annotations, and what nobody touched as it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.geometry import decode_mask, encode_mask
from models.types import Annotation, Box, Geometry, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats.exported import Exported, LeftOut
from pipelines.formats.label_studio.binding import Binding
from pipelines.formats.label_studio.brush import brush_bitmap, brush_rle
from pipelines.formats.label_studio.prediction import prediction
from pipelines.formats.label_studio.reading import read_annotations
from pipelines.formats.results import Result
from tests.pipelines.formats.builders import an_annotation
from tests.pipelines.formats.entries import documents, images, recordings
from tests.pipelines.formats.label_studio.builders import AUDIO, IMAGE, TEXT, a_binding, found, labelled, labels_tag
from tests.pipelines.formats.readers import Reader, reader

SIZE = {"original_width": 200, "original_height": 100, "image_rotation": 0}
BOXES = labels_tag("RectangleLabels", "box", "cat", "dog")
ALL = (
    BOXES,
    labels_tag("PolygonLabels", "ring", "cat"),
    labels_tag("BrushLabels", "brush", "cat"),
    labels_tag("EllipseLabels", "oval", "cat"),
    labels_tag("KeyPointLabels", "kp", "cat"),
)


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("label_studio", "label_studio") as sdk:
        yield sdk


def region(kind: str, name: str, *, id: str = "r", to: str = "img", **value: Any) -> dict[str, Any]:
    return {"id": id, "type": kind, "from_name": name, "to_name": to, "value": value, **SIZE}


def a_rectangle(*, label: str = "cat", rotation: float = 0.0, id: str = "r") -> dict[str, Any]:
    """A box of 40 × 20 pixels at (20, 10)."""
    return region(
        "rectanglelabels",
        "box",
        id=id,
        x=10.0,
        y=10.0,
        width=20.0,
        height=20.0,
        rotation=rotation,
        rectanglelabels=[label],
    )


def read(*entries: dict[str, Any], left_out: LeftOut | None = None) -> tuple[Annotation, ...]:
    return read_annotations(a_binding("segmentation", IMAGE, *ALL), entries, left_out=left_out)


def near(points: Polygon) -> list[tuple[float, float]]:
    return [(round(x, 6), round(y, 6)) for x, y in points.points_xy]


def test_a_rectangle_is_a_box_in_pixels_with_its_id() -> None:
    (one,) = read(a_rectangle())

    assert one == Annotation(id="r", label="cat", geometry=Box(xyxy=(20.0, 10.0, 60.0, 30.0)), score=1.0)


def test_a_turned_rectangle_is_a_polygon_turned_clockwise_about_its_first_corner() -> None:
    (one,) = read(a_rectangle(rotation=30.0))

    assert isinstance(one.geometry, Polygon)
    first, second, *_ = one.geometry.points_xy
    assert first == (20.0, 10.0)
    assert second == pytest.approx((20.0 + 40.0 * math.cos(math.radians(30)), 10.0 + 40.0 * 0.5))


@pytest.mark.parametrize(
    ("rotation", "xyxy"),
    [(90.0, (0.0, 10.0, 20.0, 50.0)), (180.0, (-20.0, -10.0, 20.0, 10.0)), (-90.0, (20.0, -30.0, 40.0, 10.0))],
)
def test_a_rectangle_turned_by_a_quarter_is_a_box(rotation: float, xyxy: tuple[float, ...]) -> None:
    (one,) = read(a_rectangle(rotation=rotation))

    assert isinstance(one.geometry, Box)
    assert one.geometry.xyxy == pytest.approx(xyxy)


def test_a_square_on_its_corner_is_no_box() -> None:
    square = region(
        "rectanglelabels", "box", x=0.0, y=0.0, width=10.0, height=20.0, rotation=45.0, rectanglelabels=["cat"]
    )

    assert isinstance(read(square)[0].geometry, Polygon)


def test_an_ellipse_is_a_polygon_along_it() -> None:
    (one,) = read(region("ellipselabels", "oval", x=50.0, y=50.0, radiusX=10.0, radiusY=30.0, ellipselabels=["cat"]))

    assert isinstance(one.geometry, Polygon)
    distances = [((x - 100.0) / 20.0) ** 2 + ((y - 50.0) / 30.0) ** 2 for x, y in one.geometry.points_xy]
    assert distances == pytest.approx([1.0] * 64)


def test_a_polygon_keeps_its_points() -> None:
    (one,) = read(region("polygonlabels", "ring", points=[[0, 0], [50, 0.5], [0, 100]], polygonlabels=["cat"]))

    assert isinstance(one.geometry, Polygon)
    assert near(one.geometry) == [(0.0, 0.0), (100.0, 0.5), (0.0, 100.0)]


def test_a_stroke_is_a_mask() -> None:
    mask = encode_mask(np.eye(100, 200, dtype=bool))

    (one,) = read(region("brushlabels", "brush", format="rle", rle=brush_rle(mask), brushlabels=["cat"]))

    assert one.geometry == mask


def test_a_pair_of_tool_and_labels_is_one_annotation() -> None:
    binding = a_binding(
        "detection", IMAGE, '<Rectangle name="draw" toName="img"/>', labels_tag("Labels", "class", "cat")
    )
    place: dict[str, Any] = {"x": 10.0, "y": 10.0, "width": 20.0, "height": 20.0}

    (one,) = read_annotations(
        binding, [region("rectangle", "draw", **place), region("labels", "class", **place, labels=["cat"])]
    )

    assert (one.label, one.geometry) == ("cat", Box(xyxy=(20.0, 10.0, 60.0, 30.0)))


def test_each_of_a_regions_labels_is_an_annotation_with_an_id_of_its_own() -> None:
    entry = a_rectangle()
    entry["value"]["rectanglelabels"] = ["cat", "dog", "cat"]

    assert [(one.id, one.label) for one in read(entry)] == [("r", "cat"), ("r.2", "dog")]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (region("keypointlabels", "kp", x=1.0, y=1.0, keypointlabels=["cat"]), "key points"),
        ({"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}, "relations"),
        (a_rectangle() | {"to_name": "other"}, "regions of other sources"),
        (
            a_rectangle(label="") | {"value": {**a_rectangle()["value"], "rectanglelabels": []}},
            "regions without a label",
        ),
        (region("rectanglelabels", "box", x="1", y=0, width=5, height=5, rectanglelabels=["cat"]), "without a place"),
        (region("rectanglelabels", "box", x=float("nan"), y=0, width=5, height=5), "without a place"),
        (region("rectanglelabels", "box", x=True, y=0, width=5, height=5), "without a place"),
        (region("rectanglelabels", "box", x=10**400, y=0, width=5, height=5), "without a place"),
        (region("rectanglelabels", "box"), "without a place"),
        ({"type": "rectanglelabels", "from_name": "box", "to_name": "img", "value": None}, "without a place"),
        (region("polygonlabels", "ring", points=[[0, 0], [1]], polygonlabels=["cat"]), "without a place"),
        (region("brushlabels", "brush", rle=[], brushlabels=["cat"]), "without a place"),
        (region("brushlabels", "brush", rle=[255] * 40, brushlabels=["cat"]), "without a place"),
        (region("brushlabels", "brush", rle="abc", brushlabels=["cat"]), "without a place"),
        (region("brushlabels", "brush", rle=[999, -1, 2.5], brushlabels=["cat"]), "without a place"),
        (region("taxonomy", "t", taxonomy=[["a"]]), "without a place"),
        (region("choices", "c", choices=[]), "say nothing"),
        (region("textarea", "t", text=["a comment"]), "say nothing"),
    ],
)
def test_what_cannot_be_read_is_counted(entry: dict[str, Any], why: str) -> None:
    left_out = LeftOut()

    assert read(entry, left_out=left_out) == ()

    ((words, count),) = left_out.items()
    assert why in words
    assert count == 1


@settings(max_examples=40)
@given(
    arrays(
        np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 100, 127, 128, 255])
    )
)
def test_a_stroke_is_decoded_as_the_library_encodes_it(library: Reader, pixels: np.ndarray) -> None:
    """Of any values, not of 0 and 255 alone: the editor leaves half-covered pixels along the edges."""
    ours = brush_bitmap(library.ask(pixels=pixels.tolist()), size_hw=pixels.shape)

    assert ours is not None
    assert np.array_equal(ours, pixels >= 128)


def test_values_that_are_no_run_are_decoded(library: Reader) -> None:
    """A stroke in colour has four values that differ in each pixel."""
    pixels = np.random.default_rng(5).integers(0, 256, (6, 7, 4))

    ours = brush_bitmap(library.ask(pixels=pixels.tolist()), size_hw=(6, 7))

    assert ours is not None
    assert np.array_equal(ours, pixels[..., 3] >= 128)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 255), max_size=60))
def test_bytes_that_are_no_stroke_are_none(rle: list[int]) -> None:
    assert brush_bitmap(rle, size_hw=(3, 5)) is None or len(rle) > 4


def test_a_stroke_of_another_size_is_none() -> None:
    rle = brush_rle(encode_mask(np.ones((3, 5), dtype=bool)))

    assert brush_bitmap(rle, size_hw=(3, 5)) is not None
    assert brush_bitmap(rle, size_hw=(3, 6)) is None
    assert brush_bitmap(rle[:-1], size_hw=(3, 5)) is None


def test_spans_are_of_the_text() -> None:
    binding = a_binding("ner", TEXT, labels_tag("Labels", "who", "PER", to="txt"))
    entries = [
        region("labels", "who", id=name, to="txt", start=start, end=end, text="?", labels=["PER"])
        for name, start, end in (("a", 2, 5), ("b", 5, 2), ("c", "0", "1"), ("d", 3, 99), ("e", 1, 1), ("f", 1.5, 2))
    ]
    left_out = LeftOut()

    spans = read_annotations(binding, entries, text="👩 Ada!", left_out=left_out)

    assert [(one.id, one.geometry, one.text) for one in spans] == [
        ("a", TextSpan(start=2, end=5), "Ada"),
        ("b", TextSpan(start=2, end=5), "Ada"),
        ("c", TextSpan(start=0, end=1), "👩"),
    ]
    assert left_out.total() == 3


SPEECH = ("speech", "music")
SPOKEN = (
    labels_tag("Labels", "who", "Speech|S", "Music", to="snd"),
    '<TextArea name="said" toName="snd" perRegion="true"/>',
)


def test_a_span_of_speech_has_what_is_said_in_it() -> None:
    span: dict[str, Any] = {"start": 0.5, "end": 2, "channel": 0}
    binding = a_binding("speech", AUDIO, *SPOKEN, labels=SPEECH)

    (one,) = read_annotations(
        binding,
        [
            region("labels", "who", to="snd", **span, labels=["S"]),
            region("textarea", "said", to="snd", **span, text=["hello", "world"]),
        ],
    )

    assert (one.label, one.geometry, one.text) == ("speech", TimeSpan(start_s=0.5, end_s=2.0), "hello\nworld")


def test_a_transcript_is_one_span_of_the_whole() -> None:
    binding = a_binding("speech", AUDIO, '<TextArea name="all" toName="snd"/>', labels=SPEECH)

    (one,) = read_annotations(
        binding, [region("textarea", "all", to="snd", text=["oh hello"])], pre_label=found("speech", duration_s=3.0)
    )

    assert (one.label, one.geometry, one.text) == ("speech", TimeSpan(start_s=0.0, end_s=3.0), "oh hello")


def test_choices_are_labels_of_the_whole() -> None:
    binding = a_binding("detection", IMAGE, BOXES, labels_tag("Choices", "when", "day", "night", choice="multiple"))

    read_back = read_annotations(binding, [region("choices", "when", choices=["day", ["a", "night"]])])

    assert [(one.label, one.geometry) for one in read_back] == [("day", WholeItem()), ("night", WholeItem())]


VEHICLE = (
    '<RectangleLabels name="box" toName="img"><Label value="Vehicle" predicted_values="car,truck"/>'
    '<Label value="Dog" alias="D"/></RectangleLabels>'
)


@pytest.mark.parametrize(
    ("labels", "written", "meant"),
    [
        (("dog", "car"), "D", "dog"),
        (("dog", "car"), "Vehicle", "car"),
        (("car", "truck"), "Vehicle", "Vehicle"),
        ((), "D", "Dog"),
        ((), "Vehicle", "Vehicle"),
        (("car",), "unheard of", "unheard of"),
    ],
)
def test_a_label_is_the_models_where_one_is_written_so(labels: tuple[str, ...], written: str, meant: str) -> None:
    binding = a_binding("detection", IMAGE, VEHICLE, labels=labels)

    assert [one.label for one in read_annotations(binding, [a_rectangle(label=written)])] == [meant]


def sent(binding: Binding, result: Result, *, text: str | None = None) -> list[dict[str, Any]]:
    made = prediction(binding, labelled(result), model_version="m", text=text)["result"]
    assert isinstance(made, list)
    return made


def a_mask(*, hole: bool = False) -> Mask:
    bitmap = np.zeros((48, 64), dtype=bool)
    bitmap[10:30, 10:30] = True
    bitmap[15:20, 15:20] = not hole
    bitmap[35:45, 40:60] = True
    return encode_mask(bitmap)


def test_what_nobody_touched_is_what_the_model_said() -> None:
    truck = an_annotation("0", label="truck", geometry=a_mask(hole=True), score=0.4)
    car = an_annotation("1", label="car", geometry=Box(xyxy=(1.0, 2.0, 3.0, 4.0)), score=0.5)
    result = found("segmentation", truck, car)
    binding = a_binding("segmentation", IMAGE, VEHICLE, labels=("car", "truck"))

    assert read_annotations(binding, sent(binding, result), pre_label=result) == (truck, car)


def test_what_was_moved_is_the_humans() -> None:
    cat = an_annotation("0", label="cat", geometry=Box(xyxy=(16.0, 12.0, 48.0, 24.0)), score=0.4)
    result, binding = found("detection", cat), a_binding("detection", IMAGE, BOXES)
    (entry,) = sent(binding, result)
    entry["value"]["width"] += 10.0

    (one,) = read_annotations(binding, [entry], pre_label=result)

    assert (one.id, one.score) == ("0", 1.0)
    assert one.geometry != cat.geometry


def test_what_was_deleted_is_gone_and_what_was_added_is_there() -> None:
    cat = an_annotation("0", label="cat", geometry=Box(xyxy=(16.0, 12.0, 48.0, 24.0)))
    result, binding = found("detection", cat), a_binding("detection", IMAGE, BOXES)

    assert [one.id for one in read_annotations(binding, [a_rectangle(id="new")], pre_label=result)] == ["new"]


def test_a_mask_in_parts_is_kept_where_all_of_them_are() -> None:
    mask = an_annotation("m", label="cat", geometry=a_mask())
    result, binding = found("segmentation", mask), a_binding("segmentation", IMAGE, ALL[1])
    parts = sent(binding, result)
    assert len(parts) == 2

    assert read_annotations(binding, parts, pre_label=result) == (mask,)
    assert [type(one.geometry) for one in read_annotations(binding, parts[:1], pre_label=result)] == [Polygon]


def test_a_stroke_that_was_drawn_anew_at_another_scale_is_kept() -> None:
    mask = an_annotation("m", label="cat", geometry=a_mask())
    result, binding = found("segmentation", mask), a_binding("segmentation", IMAGE, ALL[2])
    (entry,) = sent(binding, result)
    bitmap = decode_mask(a_mask())
    bitmap[10, 10:30] = False  # one row of an edge
    entry["value"]["rle"] = brush_rle(encode_mask(bitmap))
    bitmap[10:20] = False

    assert read_annotations(binding, [entry], pre_label=result) == (mask,)
    entry["value"]["rle"] = brush_rle(encode_mask(bitmap))
    assert read_annotations(binding, [entry], pre_label=result) != (mask,)


def test_a_mask_that_was_kept_has_the_box_that_it_was_made_from() -> None:
    box = an_annotation("0", label="cat", geometry=Box(xyxy=(10.0, 10.0, 60.0, 45.0)))
    mask = an_annotation("m0", label="cat", geometry=a_mask(), parent_id="0")
    result, binding = found("segmentation", box, mask), a_binding("segmentation", IMAGE, *ALL)

    assert {one.id for one in read_annotations(binding, sent(binding, result), pre_label=result)} == {"0", "m0"}


HELLO = an_annotation("0", label="speech", geometry=TimeSpan(start_s=0.5, end_s=2.0), text="hello", score=0.5)
WORD = an_annotation("0.0", label="word", geometry=TimeSpan(start_s=0.5, end_s=1.0), text="hello", parent_id="0")


def test_words_come_back_with_a_span_that_nobody_touched() -> None:
    result, binding = found("speech", HELLO, WORD, duration_s=3.0), a_binding("speech", AUDIO, *SPOKEN, labels=SPEECH)
    entries = sent(binding, result)

    assert read_annotations(binding, entries, pre_label=result) == (HELLO, WORD)
    entries[1]["value"]["text"] = ["hullo"]
    assert [(one.id, one.text) for one in read_annotations(binding, entries, pre_label=result)] == [("0", "hullo")]


def test_a_transcript_that_nobody_touched_is_its_spans() -> None:
    result = found("speech", HELLO, WORD, duration_s=3.0)
    binding = a_binding("speech", AUDIO, '<TextArea name="all" toName="snd"/>', labels=SPEECH)
    entries = sent(binding, result)

    assert read_annotations(binding, entries, pre_label=result) == (HELLO, WORD)
    entries[0]["value"]["text"] = ["hullo"]
    assert [one.text for one in read_annotations(binding, entries, pre_label=result)] == ["hullo"]


def test_what_was_not_shown_does_not_come_back() -> None:
    bus = an_annotation("0", label="bus", geometry=Box(xyxy=(16.0, 12.0, 48.0, 24.0)))
    result, binding = found("detection", bus), a_binding("detection", IMAGE, BOXES)

    assert read_annotations(binding, sent(binding, result), pre_label=result) == ()


_OPEN = {
    "image": (
        IMAGE,
        *(
            f'<{tag} name="{tag}" toName="img" value="$l"/>'
            for tag in ("RectangleLabels", "PolygonLabels", "BrushLabels")
        ),
    ),
    "text": (TEXT, '<Labels name="l" toName="txt" value="$l"/>'),
    "audio": (
        AUDIO,
        '<Labels name="l" toName="snd" value="$l"/>',
        '<TextArea name="t" toName="snd" perRegion="true"/>',
    ),
}


@settings(max_examples=100)
@given(st.one_of(images(), documents(), recordings()))
def test_whatever_is_sent_comes_back_in_its_place(entry: Exported) -> None:
    if entry.result.status == "failed":
        return
    binding = a_binding(entry.result.task, *_OPEN[entry.item.media])
    entries = sent(binding, entry.result, text=entry.text)

    back = {one.id: one for one in read_annotations(binding, entries, text=entry.text)}
    again = read_annotations(binding, entries, text=entry.text, pre_label=entry.result)

    ours = {one.id: one for one in entry.result.annotations}
    assert back.keys() == {one["id"] for one in entries}
    for name, one in back.items():
        assert_same_place(one.geometry, ours[name].geometry)
    assert set(map(identity, again)) <= set(map(identity, ours.values()))
    assert len(again) >= len(back)


def identity(annotation: Annotation) -> tuple[object, ...]:
    return annotation.id, annotation.label, annotation.score, repr(annotation.geometry), annotation.text


def assert_same_place(back: Geometry, ours: Geometry) -> None:
    match back, ours:
        case Box(xyxy=here), Box(xyxy=there):
            assert all(a == pytest.approx(b, abs=1e-6) or b < 0 or b > a for a, b in zip(here, there, strict=True))
        case Polygon(points_xy=here), Polygon(points_xy=there):
            assert len(here) == len(there)
        case TimeSpan(), TimeSpan():
            assert (back.start_s, back.end_s) <= (ours.start_s, ours.end_s)
        case _:
            assert back == ours


def test_ids_that_are_given_twice_are_told_apart() -> None:
    choice = region("choices", "when", choices=["day", "night"])
    binding = a_binding("detection", IMAGE, BOXES, labels_tag("Choices", "when", "day", "night"))

    ids = [one.id for one in read_annotations(binding, [choice, replace_id(a_rectangle(), "r.2")])]

    assert len(ids) == len(set(ids)) == 3


def replace_id(entry: dict[str, Any], id: str) -> dict[str, Any]:
    return {**entry, "id": id}
