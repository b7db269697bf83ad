"""Clicks at objects and draws boxes around them, as the editor does, and looks at the masks that come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.demo import DROP
from tests.label_studio.product import Product
from tests.label_studio.projects import CLICKS, Studio
from tests.label_studio.test_opened import mask, within
from tests.pipelines.formats.readers import Reader

PICTURE = DROP / "detection" / "easy_04.jpg"
SEGMENTER = "shapes-segmenter"
_PICTURE_COST = (192 / 1000) ** 2  # megapixels of the segmenter's input, in which it counts


@pytest.fixture
def clicks(studio: Callable[..., Studio]) -> Studio:
    project = studio(CLICKS, title="clicks")
    project.connect("--on-demand")
    return project


def objects(product: Product) -> list[tuple[str, np.ndarray]]:
    """The surest objects, by the detector: their labels and x1, y1, x2, y2."""
    found = [one for one in product.pre_label("detection", PICTURE.read_bytes()) if one["score"] > 0.8]
    return [(one["label"], np.array(one["geometry"]["xyxy"])) for one in found]


def unseen(number: int) -> bytes:
    """The picture in a file that nobody has sent before, so that the segmenter does not know it."""
    file = BytesIO()
    Image.open(PICTURE).save(file, "JPEG", quality=95, comment=f"of project {number}".encode())
    return file.getvalue()


def percents(xyxy: np.ndarray, size: tuple[int, int]) -> list[float]:
    return (100 * xyxy / np.tile(size, len(xyxy) // 2)).tolist()


def a_region(size: tuple[int, int], kind: str, name: str, label: str, value: Mapping[str, float]) -> dict[str, Any]:
    """What the editor sends of something that was just drawn."""
    return {
        "id": f"drawn-{kind}",
        "from_name": name,
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        "is_positive": True,
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": {**value, kind: [label], "labels": [label]},
    }


def a_click(xy: np.ndarray, label: str, size: tuple[int, int]) -> dict[str, Any]:
    x, y = percents(xy, size)
    return a_region(size, "keypointlabels", "point", label, {"x": x, "y": y, "width": 0.3})


def a_box(xyxy: np.ndarray, label: str, size: tuple[int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = percents(xyxy, size)
    return a_region(
        size, "rectanglelabels", "box", label, {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}
    )


def ask(studio: Studio, task: int, drawn: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the editor is told after somebody has drawn with a smart tool."""
    path = f"/api/ml/{studio.backend()['id']}/interactive-annotating"
    answer = studio.admin.post(path, json={"task": task, "context": {"result": list(drawn)}})
    return answer.raise_for_status().json()["data"]


def test_a_click_and_a_box_become_a_brush_region_each_and_a_picture_is_encoded_once(
    clicks: Studio, product: Product, sdk: Reader
) -> None:
    [task] = clicks.upload({PICTURE.name: unseen(clicks.id)})
    (label, first), (other_label, second), *_ = objects(product)
    size = (351, 243)
    assert clicks.backend()["is_interactive"]

    costs, answers = [product.cost(SEGMENTER)], list[dict[str, Any]]()
    for drawn in (
        a_click((first[:2] + first[2:]) / 2, label, size),
        a_click((second[:2] + second[2:]) / 2, other_label, size),
        a_box(second, other_label, size),
    ):
        answers.append(ask(clicks, task, [drawn]))
        costs.append(product.cost(SEGMENTER))

    assert [len(answer["result"]) for answer in answers] == [1, 1, 1]
    judged = sdk.ask(config=CLICKS, predictions=answers)
    assert judged["errors"] == [[], [], []]
    expected = [(label, first), (other_label, second), (other_label, second)]
    for answer, (told,), (own, box) in zip(answers, judged["masks"], expected, strict=True):
        [region] = answer["result"]
        assert (region["type"], region["from_name"], region["value"]["brushlabels"]) == ("brushlabels", "label", [own])
        assert told["size_hw"] == [size[1], size[0]]
        assert within(mask(told), box) > 0.75
    # The encoder's work is what an image costs; without it, prompts cost a twentieth (segment_anything.py).
    of_each = np.diff(costs)
    assert of_each[0] == pytest.approx(_PICTURE_COST, rel=0.01)
    assert of_each[1:] == pytest.approx([0.05 * _PICTURE_COST] * 2, rel=0.01)


def test_what_was_clicked_at_is_stored_nowhere_and_asked_of_nobody(clicks: Studio, product: Product) -> None:
    [task] = clicks.upload({PICTURE.name: PICTURE.read_bytes()})
    [(label, box), *_] = objects(product)
    queues = product.ask("queue")

    assert ask(clicks, task, [a_click((box[:2] + box[2:]) / 2, label, (351, 243))])["result"]

    assert clicks.predictions(task) == []
    assert product.ask("queue") == queues
