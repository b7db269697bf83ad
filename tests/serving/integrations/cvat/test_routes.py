"""Checks the nuclio-style endpoint with the demo's models: what CVAT reads of a detector and of an interactor."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest

from models.demo.scenes import HELD_OUT_SEEDS, scene
from models.geometry import mask_iou
from serving.integrations.cvat.mask_code import decoded
from tests.serving.integrations.cvat.images import BAD, frames

SEED = HELD_OUT_SEEDS[600]
IMAGE = base64.b64encode(frames(1, first=600)[0][1]).decode()


def post(address: str, task: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{address}/cvat/{task}", json={"image": IMAGE} | body, timeout=60)


def stored(store_url: str) -> int:
    """How many results the service keeps."""
    with psycopg.connect(store_url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) FROM prelabels").fetchone()
    assert row is not None
    return row[0]


def test_a_detectors_objects_are_as_cvat_reads_them(address: str) -> None:
    answer = post(address, "detection")

    objects = answer.json()
    truth = scene(SEED, "easy")
    assert answer.status_code == 200
    assert {own["type"] for own in objects} == {"rectangle"}
    assert sorted(own["label"] for own in objects) == sorted(truth.labels)
    assert all(len(own["points"]) == 4 for own in objects)
    for own in objects:
        assert isinstance(own["confidence"], str)
        assert {"name": "score", "value": own["confidence"]} in own["attributes"]


def test_a_threshold_leaves_out_what_is_less_sure(address: str) -> None:
    scores = sorted(float(own["confidence"]) for own in post(address, "detection").json())

    kept = post(address, "detection", threshold=scores[1] - 1e-4).json()

    assert sorted(float(own["confidence"]) for own in kept) == scores[1:]
    assert post(address, "detection", threshold=1).json() == []


def test_a_mask_is_the_bits_of_its_box_with_a_polygon_beside_it(address: str) -> None:
    objects = post(address, "segmentation").json()

    masks, truth = [own for own in objects if own["type"] == "mask"], scene(SEED, "easy")
    assert len(masks) == len(truth.labels)
    for own in masks:
        *bits, left, top, right, bottom = own["mask"]
        assert set(bits) == {0, 1}
        bitmap = np.zeros(truth.image_rgb.shape[:2], dtype=bool)
        bitmap[top : bottom + 1, left : right + 1] = np.array(bits).reshape(bottom + 1 - top, right + 1 - left)
        assert max(mask_iou(bitmap, true) for true in truth.masks) > 0.8
        assert len(own["points"]) % 2 == 0
        assert len(own["points"]) >= 6


def inside(number: int = 0) -> tuple[list[float], np.ndarray]:
    """A point well inside one of the scene's objects, and the object's pixels."""
    truth = scene(SEED, "easy")
    left, top, right, bottom = truth.boxes_xyxy[number]
    return [float(left + right) / 2, float(top + bottom) / 2], truth.masks[number]


def box_of(number: int = 0) -> list[float]:
    return [float(side) for side in scene(SEED, "easy").boxes_xyxy[number]]


@pytest.mark.parametrize("form", ["two corners", "four numbers"])
def test_a_box_gives_the_mask_of_the_object_in_it(address: str, form: str) -> None:
    left, top, right, bottom = box_of()
    box = [[left, top], [right, bottom]] if form == "two corners" else [left, top, right, bottom]

    answer = post(address, "segmentation", pos_points=[], neg_points=[], obj_bbox=box).json()

    truth = scene(SEED, "easy").masks[0]
    [shape] = answer["shapes"]
    rows = np.array(answer["mask"], dtype=bool)
    assert rows.shape == truth.shape
    assert mask_iou(rows, truth) > 0.8
    assert np.array_equal(decoded(shape["points"], size_hw=truth.shape), rows)  # pyright: ignore[reportArgumentType]
    assert 0 < float(shape["confidence"]) <= 1
    assert len(answer["points"]) >= 3
    assert all(len(point) == 2 for point in answer["points"])


def test_a_point_on_an_object_gives_a_mask_that_holds_it(address: str) -> None:
    point, _ = inside()

    answer = post(address, "segmentation", pos_points=[point], neg_points=[], obj_bbox=None).json()

    assert answer["mask"][int(point[1])][int(point[0])] == 1


def test_points_and_a_box_together_stay_in_the_box(address: str) -> None:
    point, truth = inside()

    answer = post(address, "segmentation", pos_points=[point], neg_points=[[1, 1]], obj_bbox=box_of()).json()

    rows = np.array(answer["mask"], dtype=bool)
    left, top, right, bottom = box_of()
    outside = rows.copy()
    outside[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = False
    assert not outside.any()
    assert mask_iou(rows, truth) > 0.8


def test_the_rows_can_be_left_out(address: str) -> None:
    answer = post(address, "segmentation", pos_points=[], neg_points=[], obj_bbox=box_of(), with_rows=False).json()

    assert set(answer) == {"points", "shapes"}


def test_clicks_are_not_kept_and_a_detectors_images_are(address: str, store_url: str) -> None:
    before = stored(store_url)
    post(address, "segmentation", pos_points=[], neg_points=[], obj_bbox=box_of())
    after_click = stored(store_url)
    post(address, "detection")

    assert (after_click - before, stored(store_url) - after_click) == (0, 1)


@pytest.mark.parametrize(
    ("task", "body", "status", "said"),
    [
        ("detection", {"image": "no base64!"}, 422, "base64"),
        ("detection", {"image": base64.b64encode(BAD).decode()}, 422, "damaged"),
        ("detection", {"image": ""}, 422, ""),
        ("detection", {"image": None}, 422, "image"),
        ("detection", {"threshold": 1.5}, 422, "threshold"),
        ("detection", {"pos_points": [[1, 1]], "neg_points": []}, 422, "/cvat/segmentation"),
        ("segmentation", {"pos_points": [], "neg_points": []}, 422, "neither a positive point nor a box"),
        ("segmentation", {"pos_points": [], "neg_points": [[1, 1]]}, 422, "neither a positive point nor a box"),
        ("segmentation", {"pos_points": [[1]], "neg_points": []}, 422, "pos_points"),
        ("segmentation", {"pos_points": [[1, 1], [5000, 1]], "neg_points": []}, 422, "outside the image"),
        ("segmentation", {"obj_bbox": [1, 2, 3]}, 422, "a box must be"),
        ("segmentation", {"obj_bbox": [[1, 2], [1, 2]]}, 422, "x1 < x2"),
        ("ner", {}, 422, "detection"),
    ],
)
def test_what_cannot_be_used_is_refused_clearly(
    address: str, task: str, body: dict[str, Any], status: int, said: str
) -> None:
    answer = post(address, task, **body)

    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_what_newer_versions_of_cvat_may_add_is_not_minded(address: str) -> None:
    assert post(address, "detection", frame_quality="original").status_code == 200
