"""Opens tasks of a connected project, which are labelled then, and looks where the predictions lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from serving.demo import DROP
from tests.label_studio import pictures
from tests.label_studio.product import Product
from tests.label_studio.projects import BOXES, MASKS, SPEECH, TEXTS, Studio
from tests.pipelines.formats.readers import Reader

# Emoji outside the basic plane, joined ones among them, and a letter whose accent is a character of its own.
TEXT = "\U0001f600 cafe\u0301 \U0001f468\u200d\U0001f469 Denndine Thalvsen has worked for Waxmann Holdings since 2029."


def opened(studio: Studio, task: int) -> dict[str, Any]:
    """The one prediction of a task that somebody opens, which stays the same one when it is opened again."""
    [prediction] = studio.open(task)["predictions"]
    [again] = studio.open(task)["predictions"]
    assert again == prediction
    return prediction


def corners(region: dict[str, Any]) -> np.ndarray:
    """(4,) x1, y1, x2, y2 of a rectangle, in pixels of the picture as it is seen."""
    value, size = region["value"], (region["original_width"], region["original_height"])
    assert value["rotation"] == 0 and region["image_rotation"] == 0
    box = np.array([value["x"], value["y"], value["x"] + value["width"], value["y"] + value["height"]])
    return box / 100 * np.tile(size, 2)


def mask(told: dict[str, Any]) -> np.ndarray:
    """(h, w) bool."""
    height, width = told["size_hw"]
    return (
        np.unpackbits(np.frombuffer(bytes.fromhex(told["packed"]), np.uint8))[: height * width].reshape(height, width)
        > 0
    )


def within(mask: np.ndarray, xyxy: Sequence[float] | np.ndarray) -> float:
    """How much of a mask lies in a box; 0 where it leaves more than two thirds of that empty."""
    x1, y1, x2, y2 = (round(float(end)) for end in xyxy)
    inside = mask[y1:y2, x1:x2]
    return float(inside.sum() / mask.sum()) if inside.mean() > 0.3 else 0.0


def iou(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    a, b = np.asarray(one), np.asarray(other)
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    common = sides.prod()
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))


def test_spans_lie_behind_emoji_and_combined_characters_where_they_belong(
    studio: Callable[..., Studio], sdk: Reader
) -> None:
    texts = studio(TEXTS, tasks=[{"text": TEXT}])
    texts.connect("--on-demand")

    prediction = opened(texts, texts.tasks()[0]["id"])

    found = [(region["value"]["text"], region["value"]["labels"]) for region in prediction["result"]]
    assert found == [("Denndine Thalvsen", ["person"]), ("Waxmann Holdings", ["organisation"]), ("2029", ["date"])]
    for region in prediction["result"]:
        value = region["value"]
        assert TEXT[value["start"] : value["end"]] == value["text"]
        assert 0 < region["score"] <= 1
    assert 0 < prediction["score"] <= 1
    assert sdk.ask(config=TEXTS, predictions=[prediction])["errors"] == [[]]


def test_boxes_lie_on_the_picture_as_it_is_seen_however_its_pixels_are_stored(
    studio: Callable[..., Studio], product: Product, sdk: Reader
) -> None:
    upright = pictures.EASY.read_bytes()
    files = {orientation: pictures.turned(pictures.seen(), orientation) for orientation in (3, 6, 8)}
    boxes = studio(BOXES)
    boxes.connect("--on-demand")
    first, *rest = boxes.upload({"upright.jpg": upright, **{f"{way}.jpg": file for way, file in files.items()}})

    prediction = opened(boxes, first)

    size = pictures.seen().size
    expected = {one["id"]: one for one in product.pre_label("detection", upright)}
    assert len(expected) == len(prediction["result"]) == 4
    for region in prediction["result"]:
        own = expected[region["id"]]
        assert region["value"]["rectanglelabels"] == [own["label"]]
        assert (region["original_width"], region["original_height"]) == size
        assert corners(region) == pytest.approx(own["geometry"]["xyxy"], abs=0.01)
    turned = [opened(boxes, task) for task in rest]
    for other in turned:
        assert (other["result"][0]["original_width"], other["result"][0]["original_height"]) == size
        sure = [region for region in other["result"] if region["score"] > 0.6]
        for region in sure:
            assert max(iou(corners(region), one["geometry"]["xyxy"]) for one in expected.values()) > 0.85
        assert len(sure) >= 3
    assert sdk.ask(config=BOXES, predictions=[prediction, *turned])["errors"] == [[]] * 4


def test_masks_lie_in_the_boxes_of_their_objects(studio: Callable[..., Studio], product: Product, sdk: Reader) -> None:
    files = {name: (DROP / "detection" / name).read_bytes() for name in ("easy_01.jpg", "easy_04.jpg")}
    masks = studio(MASKS)
    masks.connect("--on-demand")
    tasks = masks.upload(files)

    predictions = [opened(masks, task) for task in tasks]

    judged = sdk.ask(config=MASKS, predictions=predictions)
    assert judged["errors"] == [[], []]
    for content, prediction, drawn in zip(files.values(), predictions, judged["masks"], strict=True):
        boxes = [one for one in product.pre_label("detection", content) if one["score"] > 0.6]
        found = [
            (region["value"]["brushlabels"], mask(told))
            for region, told in zip(prediction["result"], drawn, strict=True)
        ]
        for box in boxes:
            shares = [within(one, box["geometry"]["xyxy"]) for labels, one in found if labels == [box["label"]]]
            assert max(shares) > 0.9
            moved = [within(one[::-1, ::-1], box["geometry"]["xyxy"]) for _, one in found]
            assert max(moved) < 0.9  # so it would be noticed
        assert len(boxes) >= 3


def test_speech_lies_in_its_recording_with_what_is_said(
    studio: Callable[..., Studio], product: Product, sdk: Reader
) -> None:
    path = DROP / "speech" / "clean_00.wav"
    recordings = studio(SPEECH)
    recordings.connect("--on-demand")
    [task] = recordings.upload({path.name: path.read_bytes()})

    prediction = opened(recordings, task)

    spans = [region for region in prediction["result"] if region["type"] == "labels"]
    said = {region["id"]: region["value"]["text"] for region in prediction["result"] if region["type"] == "textarea"}
    [expected] = [one for one in product.pre_label("speech", path.read_bytes()) if one["label"] == "speech"]
    [span] = spans
    assert said[span["id"]] == [expected["text"]]
    assert "three nine three" in expected["text"]
    assert (span["value"]["start"], span["value"]["end"]) == (
        expected["geometry"]["start_s"],
        expected["geometry"]["end_s"],
    )
    assert 0 <= span["value"]["start"] < span["value"]["end"] <= span["original_length"]
    assert sdk.ask(config=SPEECH, predictions=[prediction])["errors"] == [[]]
