"""Tests that Label Studio's own library takes the tasks and finds in them what went in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.geometry import decode_mask, encode_mask
from models.types import MEDIA_OF_TASK, Annotation, Box, Geometry, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats import label_studio
from pipelines.formats.characters import clean, label_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, objects
from pipelines.formats.extents import image_size_hw
from pipelines.formats.label_studio.brush import brush_rle
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.entries import (
    an_entry,
    documents,
    entry,
    images,
    is_drawable,
    labels_of,
    recordings,
)
from tests.pipelines.formats.readers import Reader, reader

DIAGONAL = np.eye(48, 64, dtype=bool)
TRIANGLE = Polygon(points_xy=((0.0, 0.0), (32.0, 0.0), (0.0, 96.0)))


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("label_studio", "label_studio") as sdk:
        yield sdk


def write(entries: Sequence[Exported], out: Path) -> LeftOut:
    return label_studio.write(iter(entries), labels=labels_of(entries), out=out)


def only_task(library: Reader, out: Path) -> dict[str, Any]:
    """The one task of an export, which the library finds without fault."""
    (folder,) = out.iterdir()
    (found,) = library.ask(folder=str(folder))["tasks"]
    assert not any(found["errors"])
    return found


def test_boxes_polygons_masks_and_choices_fit_the_interface_beside_them(library: Reader, tmp_path: Path) -> None:
    labels = [
        an_annotation("0", label="cat", geometry=Box(xyxy=(16.0, 12.0, 48.0, 24.0)), score=0.5),
        an_annotation("1", label="dog", geometry=TRIANGLE, confidence=0.25),
        an_annotation("2", label="cat", geometry=encode_mask(DIAGONAL)),
        an_annotation("3", label="indoor", geometry=WholeItem()),
        an_annotation("4", label="night", geometry=WholeItem(), score=0.75),
    ]

    left_out = write([an_entry("a.png", *labels)], tmp_path)

    assert left_out == {}
    found = only_task(library, tmp_path)
    assert found["data"] == {"image": "/data/local-files/?d=data/image.png", "item_id": "a.png", "route": "review"}
    (prediction,) = found["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("detector@2", 0.25)
    box, polygon, brush, choices = prediction["result"]
    assert box["value"] == {
        "x": 25.0,
        "y": 25.0,
        "width": 50.0,
        "height": 25.0,
        "rotation": 0,
        "rectanglelabels": ["cat"],
    }
    assert (box["original_width"], box["original_height"], box["image_rotation"]) == (64, 48, 0)
    assert polygon["value"]["points"] == [[0.0, 0.0], [50.0, 0.0], [0.0, 100.0]]
    assert np.array_equal(bitmap(found["bitmaps"][2], (48, 64)), DIAGONAL)
    assert choices["value"] == {"choices": ["indoor", "night"]}
    assert [(region["score"], region["meta"]["score_kind"]) for region in prediction["result"]] == [
        (0.5, "score"),
        (0.25, "confidence"),
        (0.9, "score"),
        (0.75, "score"),
    ]
    assert brush["value"]["brushlabels"] == ["cat"]


def test_the_interface_offers_what_occurs(library: Reader, tmp_path: Path) -> None:
    write(
        [an_entry("a.png", an_annotation("0", label="b"), an_annotation("1", label="a", geometry=TRIANGLE))], tmp_path
    )

    found = library.ask(folder=str(tmp_path / "detection"))

    assert found["labels"] == {"rectanglelabels": ["b"], "polygonlabels": ["a"]}


def test_every_task_has_a_project_of_its_own(library: Reader, tmp_path: Path) -> None:
    span = an_annotation(label="person", geometry=TextSpan(start=0, end=1))

    write([an_entry("a.png", an_annotation()), an_entry("a.txt", span, task="ner", text="Ada")], tmp_path)

    labels = {folder.name: library.ask(folder=str(folder))["labels"] for folder in tmp_path.iterdir()}
    assert labels == {"detection": {"rectanglelabels": ["circle"]}, "ner": {"labels": ["person"]}}


def test_spans_count_code_points(library: Reader, tmp_path: Path) -> None:
    text = "👩‍👧 é\r\nAda Varga left."
    span = an_annotation(label="person", geometry=TextSpan(start=7, end=16))

    write([an_entry("a.txt", span, task="ner", text=text)], tmp_path)

    found = only_task(library, tmp_path)
    assert found["data"]["text"] == text
    assert found["predictions"][0]["result"][0]["value"] == {
        "start": 7,
        "end": 16,
        "text": "Ada Varga",
        "labels": ["person"],
    }
    tokens, tags = found["tags"][0]
    assert [token for token, tag in zip(tokens, tags, strict=True) if tag != "O"] == ["Ada", "Varga"]


def test_a_span_of_speech_is_one_region_with_its_words(library: Reader, tmp_path: Path) -> None:
    said = an_annotation("0", label="speech", geometry=TimeSpan(start_s=0.5, end_s=2.0), text="hello world", score=0.5)
    word = an_annotation("0.0", label="word", geometry=TimeSpan(start_s=0.5, end_s=1.0), text="hello", parent_id="0")

    left_out = write(
        [entry(a_result("a.wav", said, word, task="speech"), uri="s3://b/a.wav", duration_s=3.0)], tmp_path
    )

    assert left_out == {"words of a transcribed span": 1}
    found = only_task(library, tmp_path)
    assert found["data"]["audio"] == "s3://b/a.wav"
    span, text = found["predictions"][0]["result"]
    assert span["id"] == text["id"]
    assert span["value"] == {"start": 0.5, "end": 2.0, "channel": 0, "labels": ["speech"]}
    assert (text["type"], text["value"]["text"], text["original_length"]) == ("textarea", ["hello world"], 3.0)


def test_characters_that_no_database_takes_are_replaced(library: Reader, tmp_path: Path) -> None:
    said = an_annotation("0", label="a\0b", geometry=TimeSpan(start_s=0.5, end_s=2.0), text="hello\0\udce9")
    span = an_annotation("0", label="c", geometry=TextSpan(start=1, end=3))

    write([an_entry("a.wav", said, task="speech"), an_entry("a\udce9", span, task="ner", text="x\0\ud800y")], tmp_path)

    (spoken,) = library.ask(folder=str(tmp_path / "speech"))["tasks"]
    (written,) = library.ask(folder=str(tmp_path / "ner"))["tasks"]
    region, text = spoken["predictions"][0]["result"]
    assert (region["value"]["labels"], text["value"]["text"]) == (["a\ufffdb"], ["hello\ufffd\ufffd"])
    assert (written["data"]["text"], written["data"]["item_id"]) == ("x\ufffd\ufffdy", "a%E9")


def test_words_without_a_transcript_are_regions(library: Reader, tmp_path: Path) -> None:
    word = an_annotation("0.0", label="word", geometry=TimeSpan(start_s=0.5, end_s=1.0), text="hello")

    assert write([entry(a_result("a.wav", word, task="speech"))], tmp_path) == {}

    assert len(only_task(library, tmp_path)["predictions"][0]["result"]) == 2


def test_a_box_is_cut_at_the_images_edges(library: Reader, tmp_path: Path) -> None:
    write([an_entry("a.png", an_annotation(geometry=Box(xyxy=(-10.0, 24.0, 1000.0, 50.0))))], tmp_path)

    value = only_task(library, tmp_path)["predictions"][0]["result"][0]["value"]
    assert (value["x"], value["y"], value["width"], value["height"]) == (0.0, 50.0, 100.0, 50.0)


def test_nothing_found_is_an_empty_prediction_that_does_not_come_first(library: Reader, tmp_path: Path) -> None:
    left_out = write([an_entry("empty.png"), entry(a_failure("broken.png"))], tmp_path)

    assert left_out == {"items that failed": 1}
    (prediction,) = only_task(library, tmp_path)["predictions"]
    assert (prediction["score"], prediction["result"]) == (0.8, [])  # a_result has a miss_risk of 0.2


def test_a_confidence_in_the_whole_item_orders_the_stream(library: Reader, tmp_path: Path) -> None:
    write([entry(a_result("a.png", an_annotation(), confidence=0.125))], tmp_path)

    assert only_task(library, tmp_path)["predictions"][0]["score"] == 0.125


def test_what_cannot_be_shown_is_counted_and_is_no_empty_prediction(library: Reader, tmp_path: Path) -> None:
    unsized = entry(a_result("a.png", an_annotation()), size_hw=None)
    line = an_entry("b.png", an_annotation(geometry=Polygon(points_xy=((0, 0), (1, 1)))))
    unknown = an_entry("a.txt", an_annotation(geometry=TextSpan(start=0, end=1)), task="ner")

    left_out = write([unsized, line, unknown], tmp_path)

    assert left_out == {
        "shapes in images of unknown size": 1,
        "shapes without any area inside the image": 1,
        "texts that are not known any more": 1,
    }
    assert [task["predictions"] for task in library.ask(folder=str(tmp_path / "detection"))["tasks"]] == [[], []]
    assert library.ask(folder=str(tmp_path / "ner"))["tasks"] == []


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("https://example.com/a b.png?x=1", "https://example.com/a b.png?x=1"),
        ("s3://bucket/a.png", "s3://bucket/a.png"),
        ("/data/ü/50%.png", "/data/local-files/?d=data/%C3%BC/50%25.png"),
        ("file:///data/a%20b.png", "/data/local-files/?d=data/a%20b.png"),
        ("/data/caf\udce9.png", "/data/local-files/?d=data/caf%E9.png"),
        (None, "/data/local-files/?d=a.png"),
    ],
)
def test_a_file_is_referred_to_by_an_address_that_label_studio_opens(
    uri: str | None, address: str, tmp_path: Path
) -> None:
    write([entry(a_result("a.png"), uri=uri)], tmp_path)

    assert json.loads((tmp_path / "detection" / "tasks.json").read_bytes())[0]["data"]["image"] == address


def test_nothing_makes_no_project(tmp_path: Path) -> None:
    assert write([], tmp_path) == {}

    assert list(tmp_path.iterdir()) == []


def test_ten_thousand_labels_come_back(library: Reader, tmp_path: Path) -> None:
    labels = [an_annotation(str(number)) for number in range(1_000)]  # the library's time grows with their square

    write([an_entry(f"{number}.png", *labels) for number in range(10)], tmp_path)

    tasks = library.ask(folder=str(tmp_path / "detection"))["tasks"]
    assert not any(errors for task in tasks for errors in task["errors"])
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [1_000] * 10


@settings(max_examples=50)
@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)), fill=st.booleans()))
def test_a_brush_stroke_is_encoded_as_label_studio_encodes_it(library: Reader, mask: np.ndarray) -> None:
    ours = brush_rle(encode_mask(mask))

    theirs = library.ask(bitmap=mask.astype(int).tolist())  # with a byte more where no bits were missing
    assert ours == (theirs[: len(ours)] if mask.any() else [])
    assert len(theirs) - len(ours) <= 1 or not mask.any()


def test_a_brush_stroke_may_be_longer_than_the_longest_run(library: Reader, tmp_path: Path) -> None:
    tall = np.zeros((65535, 3), dtype=bool)
    tall[100:-100] = True
    tall[7] = True

    write([entry(a_result("a.png", an_annotation(geometry=encode_mask(tall))), size_hw=tall.shape)], tmp_path)

    assert np.array_equal(bitmap(only_task(library, tmp_path)["bitmaps"][0], (65535, 3)), tall)


@settings(max_examples=60)
@given(st.lists(st.one_of(images(), documents(), recordings()), max_size=6))
def test_whatever_a_store_holds_is_valid(library: Reader, entries: list[Exported]) -> None:
    with TemporaryDirectory() as out:
        left_out = write(entries, Path(out))
        found = {folder.name: library.ask(folder=str(folder))["tasks"] for folder in Path(out).iterdir()}

    lost = sum(one.result.status == "failed" for one in entries)
    for one in entries:
        if one.result.status == "failed":
            continue
        if one.result.task == "ner" and one.text is None:
            lost += 1
            continue
        task = found[one.result.task].pop(0)
        assert task["data"]["item_id"] == name_of(one.item.id)
        assert task["data"].get("text") == (clean(one.text) if one.text is not None else None)
        shown = list(filter(lambda annotation: is_shown(annotation, one), one.result.annotations))
        shown = [annotation for annotation, _ in objects(one.result) if annotation in shown]
        lost += len(list(objects(one.result))) - len(shown)
        regions = task["predictions"][0]["result"] if task["predictions"] else []
        assert not any(task["errors"])
        assert_same(regions, task["bitmaps"], shown, one)
    assert not any(found.values())
    assert left_out.total() == lost


def is_shown(annotation: Annotation, one: Exported) -> bool:
    by_id = {parent.id: parent for parent in one.result.annotations}
    parent = by_id.get(annotation.parent_id or "")
    match annotation.geometry:
        case TimeSpan():
            return not (parent and isinstance(parent.geometry, TimeSpan) and parent.text is not None)
        case Box(xyxy=(x1, y1, x2, y2)):
            return is_area([(x1, y1), (x2, y2)], one)
        case Polygon(points_xy=points):
            return len(points) > 2 and is_area(points, one)
        case Mask():
            return is_drawable(annotation)
        case TextSpan(start=start, end=end):
            return start < end <= len(one.text or "")
        case WholeItem():
            return True


def is_area(points: Sequence[tuple[float, float]], one: Exported) -> bool:
    size_hw = image_size_hw(one.result)
    return size_hw is not None and bool(np.ptp(np.clip(points, 0, size_hw[::-1]), axis=0).all())


def assert_same(regions: list[Any], bitmaps: list[Any], shown: list[Annotation], one: Exported) -> None:
    whole = [annotation for annotation in shown if isinstance(annotation.geometry, WholeItem)]
    if whole:
        choices = regions.pop()
        assert set(choices["value"]["choices"]) == {label_of(annotation.label) for annotation in whole}
        assert choices["score"] == min(certainty(annotation)[0] for annotation in whole)
    pairs = [(region, found) for region, found in zip(regions, bitmaps, strict=False) if region["type"] != "textarea"]
    texts = {region["id"]: region["value"]["text"] for region in regions if region["type"] == "textarea"}
    placed = [annotation for annotation in shown if annotation not in whole]
    for annotation, (region, found) in zip(placed, pairs, strict=True):
        assert region["value"][region["type"]] == [label_of(annotation.label)]
        assert (region["score"], region["meta"]["score_kind"]) == certainty(annotation)
        assert region["to_name"] == MEDIA_OF_TASK[one.result.task]
        if isinstance(annotation.geometry, TimeSpan) and annotation.text is not None:
            assert texts[annotation.id] == [clean(annotation.text)]
        assert_same_place(region, found, annotation.geometry, one)


def assert_same_place(region: dict[str, Any], found: list[int] | None, geometry: Geometry, one: Exported) -> None:
    height, width = image_size_hw(one.result) or (1, 1)
    value = region["value"]
    match geometry:
        case Box(xyxy=(x1, y1, x2, y2)):
            xyxy = (value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"])
            expected = np.clip([100 * x1 / width, 100 * y1 / height, 100 * x2 / width, 100 * y2 / height], 0, 100)
            assert np.allclose(xyxy, expected)
        case Polygon(points_xy=points):
            assert np.allclose(value["points"], np.clip(100 * np.array(points) / (width, height), 0, 100))
        case Mask() as mask:
            assert np.array_equal(bitmap(found or [], (height, width)), decode_mask(mask))
        case TextSpan(start=start, end=end):
            assert (value["start"], value["end"]) == (start, end)
            assert value["text"] == clean(one.text or "")[start:end]
        case TimeSpan(start_s=start_s, end_s=end_s):
            latest = one.result.duration_s or float("inf")
            assert (value["start"], value["end"]) == (min(start_s, latest), min(end_s, latest))
        case WholeItem():
            raise AssertionError("a label of the whole item has no place")


def bitmap(rows: list[int], size_hw: tuple[int, int]) -> np.ndarray:
    return np.unpackbits(np.array(rows, dtype=np.uint8), count=size_hw[0] * size_hw[1]).reshape(size_hw).astype(bool)
