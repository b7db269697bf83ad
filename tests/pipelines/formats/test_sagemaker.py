"""Tests that manifests are what AWS documents: no library reads them, so the schema is written down here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from models.geometry import encode_mask
from models.types import Box, Geometry, Polygon, TextSpan, WholeItem
from pipelines.formats import sagemaker
from pipelines.formats.characters import clean, label_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, objects
from pipelines.formats.extents import extent, image_size_hw
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.entries import an_entry, documents, entry, images, labels_of


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class Size(Strict):
    width: PositiveInt
    height: PositiveInt
    depth: PositiveInt


class Place(Strict):
    class_id: NonNegativeInt
    left: NonNegativeInt
    top: NonNegativeInt
    width: PositiveInt
    height: PositiveInt


class Sure(Strict):
    confidence: float = Field(ge=0, le=1)


class Places(Strict):
    image_size: list[Size] = Field(min_length=1, max_length=1)
    annotations: list[Place]


class Metadata(Strict):
    human_annotated: Literal["no"] = Field(alias="human-annotated")
    creation_date: str = Field(alias="creation-date")
    job_name: str = Field(alias="job-name", pattern="^labeling-job/.")


class ImageMetadata(Metadata):
    objects: list[Sure]
    class_map: dict[str, str] = Field(alias="class-map")
    type: Literal["groundtruth/object-detection"]


class TextMetadata(Metadata):
    entities: list[Sure]
    type: Literal["groundtruth/text-span"]


class Entity(Strict):
    label: str
    startOffset: NonNegativeInt
    endOffset: PositiveInt


class Name(Strict):
    label: str


class Entities(Strict):
    entities: list[Entity]
    labels: list[Name]


class Marked(Strict):
    annotations: Entities


class Line(Strict):
    item_id: str = Field(alias="item-id")
    route: str | None
    score_kind: str | None = Field(alias="score-kind")


class ImageLine(Line):
    """https://docs.aws.amazon.com/rekognition/latest/customlabels-dg/md-create-manifest-file-object-detection.html"""

    source_ref: str = Field(alias="source-ref")
    prelabel: Places
    metadata: ImageMetadata = Field(alias="prelabel-metadata")


class TextLine(Line):
    """https://docs.aws.amazon.com/comprehend/latest/dg/cer-annotation-manifest.html"""

    source: str
    prelabel: Marked
    metadata: TextMetadata = Field(alias="prelabel-metadata")


def write(entries: Sequence[Exported], out: Path) -> LeftOut:
    return sagemaker.write(iter(entries), labels=labels_of(entries), out=out)


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]] if file.exists() else []


def image_lines(out: Path, task: str = "detection") -> list[ImageLine]:
    return [ImageLine.model_validate(line) for line in lines(out / f"{task}.manifest")]


def text_lines(out: Path) -> list[TextLine]:
    return [TextLine.model_validate(line) for line in lines(out / "ner.manifest")]


def test_a_line_is_what_ground_truth_writes(tmp_path: Path) -> None:
    labels = [
        an_annotation("0", label="dog", geometry=Box(xyxy=(1.4, 2.0, 10.6, 20.0)), score=0.25),
        an_annotation("1", label="dog", geometry=Box(xyxy=(-5.0, 40.0, 30.0, 60.0)), score=0.5),
    ]
    other = an_entry("b.png", an_annotation(label="cat"))

    left_out = write([entry(a_result("a.png", *labels), uri="s3://bucket/a.png"), other], tmp_path)

    assert left_out == {}
    assert lines(tmp_path / "detection.manifest")[0] == {
        "source-ref": "s3://bucket/a.png",
        "prelabel": {
            "image_size": [{"width": 64, "height": 48, "depth": 3}],
            "annotations": [
                {"class_id": 1, "left": 1, "top": 2, "width": 10, "height": 18},
                {"class_id": 1, "left": 0, "top": 40, "width": 30, "height": 8},
            ],
        },
        "prelabel-metadata": {
            "objects": [{"confidence": 0.25}, {"confidence": 0.5}],
            "class-map": {"1": "dog"},
            "type": "groundtruth/object-detection",
            "human-annotated": "no",
            "job-name": "labeling-job/detector-2",
            "creation-date": "2026-01-02T03:04:00.000000",
        },
        "item-id": "a.png",
        "route": "review",
        "score-kind": "score",
    }


def test_a_line_of_text_is_what_ground_truth_writes(tmp_path: Path) -> None:
    text = "👩‍👧 Diego Ramirez is an engineer."
    span = an_annotation(label="ENGINEER", geometry=TextSpan(start=4, end=17), confidence=0.75)

    write([an_entry("a.txt", span, task="ner", text=text)], tmp_path)

    (line,) = text_lines(tmp_path)
    (entity,) = line.prelabel.annotations.entities
    assert line.source[entity.startOffset : entity.endOffset] == "Diego Ramirez"
    assert (entity.label, line.prelabel.annotations.labels) == ("ENGINEER", [Name(label="ENGINEER")])
    assert (line.metadata.entities, line.score_kind) == ([Sure(confidence=0.75)], "confidence")


def test_a_mask_is_written_as_its_box_and_counted(tmp_path: Path) -> None:
    square = np.zeros((48, 64), dtype=bool)
    square[10:20, 30:50] = True
    box, mask = an_annotation("0"), an_annotation("m0", geometry=encode_mask(square), parent_id="0")

    left_out = write([an_entry("a.png", box, mask, task="segmentation")], tmp_path)

    assert left_out == {"outlines of objects that are written as boxes": 1}
    (place,) = image_lines(tmp_path, "segmentation")[0].prelabel.annotations
    assert (place.left, place.top, place.width, place.height) == (30, 10, 20, 10)


def test_what_a_manifest_cannot_hold_is_counted(tmp_path: Path) -> None:
    shapes: list[Geometry] = [
        WholeItem(),
        Box(xyxy=(70.0, 0.0, 90.0, 9.0)),
        Box(xyxy=(1.0, 1.0, 1.0, 9.0)),
        Polygon(points_xy=()),
    ]
    labels = [an_annotation(str(number), geometry=shape) for number, shape in enumerate(shapes)]
    empty = an_annotation("0", geometry=TextSpan(start=1, end=1))
    entries = [
        an_entry("a.png", *labels),
        entry(a_result("b.png", an_annotation()), size_hw=None),
        entry(a_failure("c.png")),
        an_entry("d.txt", empty, an_annotation("1", geometry=WholeItem()), task="ner", text="ab"),
        an_entry("e.txt", task="ner"),
    ]

    assert write(entries, tmp_path) == {
        "labels of the whole image": 1,
        "shapes that take up no pixel of the image": 3,
        "images of unknown size": 1,
        "items that failed": 1,
        "spans without a character": 1,
        "labels of the whole text": 1,
        "texts that are not known any more": 1,
    }


def test_an_image_without_labels_is_a_line_without_any(tmp_path: Path) -> None:
    write([an_entry("empty.png")], tmp_path)

    (line,) = image_lines(tmp_path)
    assert (line.prelabel.annotations, line.metadata.objects, line.metadata.class_map) == ([], [], {})


def test_ten_thousand_labels_are_one_line(tmp_path: Path) -> None:
    write([an_entry("a.png", *(an_annotation(str(number)) for number in range(10_000)))], tmp_path)

    (line,) = image_lines(tmp_path)
    assert len(line.prelabel.annotations) == len(line.metadata.objects) == 10_000


@settings(max_examples=50)
@given(st.lists(images() | documents(), max_size=4))
def test_whatever_a_store_holds_fits_the_schema(entries: list[Exported]) -> None:
    with TemporaryDirectory() as folder:
        write(entries, Path(folder))
        found = {task: image_lines(Path(folder), task) for task in ("detection", "segmentation")}
        texts = text_lines(Path(folder))

    for one in entries:
        if one.result.status == "failed":
            continue
        if one.result.task == "ner":
            if one.text is not None:
                assert_same_spans(texts.pop(0), one)
        elif image_size_hw(one.result):
            assert_same_boxes(found[one.result.task].pop(0), one)
    assert not texts
    assert not any(found.values())


def assert_same_boxes(line: ImageLine, one: Exported) -> None:
    height, width = image_size_hw(one.result) or (0, 0)
    size, places = line.prelabel.image_size[0], line.prelabel.annotations
    assert line.item_id == name_of(one.item.id)
    assert (size.height, size.width) == (height, width)
    assert len(places) == len(line.metadata.objects)
    remaining = [(label_of(a.label), certainty(a)[0], extent(a.geometry)) for a, _ in objects(one.result)]
    for place, sure in zip(places, line.metadata.objects, strict=True):
        assert place.left + place.width <= width
        assert place.top + place.height <= height
        found = (place.left, place.top, place.left + place.width, place.top + place.height)
        name = line.metadata.class_map[str(place.class_id)]
        remaining.remove(
            next(
                (label, score, box)
                for label, score, box in remaining
                if (label, score) == (name, sure.confidence)
                and box
                and np.abs(np.clip(box, 0, [width, height] * 2) - found).max() <= 0.5
            )
        )
    assert datetime.fromisoformat(line.metadata.creation_date)


def assert_same_spans(line: TextLine, one: Exported) -> None:
    spans = [
        (label_of(a.label), a.geometry.start, a.geometry.end, certainty(a)[0])
        for a, _ in objects(one.result)
        if isinstance(a.geometry, TextSpan) and a.geometry.start < a.geometry.end
    ]
    pairs = zip(line.prelabel.annotations.entities, line.metadata.entities, strict=True)
    assert [(e.label, e.startOffset, e.endOffset, sure.confidence) for e, sure in pairs] == spans
    assert line.source == clean(one.text or "")
