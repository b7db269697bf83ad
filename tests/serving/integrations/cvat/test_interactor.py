"""Checks the interaction function by cvat-sdk's own types, with the demo's segmenter."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from models.demo.scenes import HELD_OUT_SEEDS, scene
from models.errors import ItemError
from models.geometry import mask_iou
from serving.client.errors import AnswerError, UnreachableError
from serving.integrations.cvat.clicks import Clicks
from serving.integrations.cvat.interactor import ServiceInteractor
from serving.integrations.cvat.mask_code import decoded
from tests.pipelines.formats.readers import Reader, reader
from tests.serving.integrations.cvat.images import BAD, frames
from tests.serving.integrations.cvat.stub import a_cvat

SEED = HELD_OUT_SEEDS[600]
FILE = frames(1, first=600)[0][1]


@pytest.fixture(scope="module")
def cvat_sdk() -> Iterator[Reader]:
    with reader("cvat", "cvat") as library:
        yield library


def test_cvat_sdk_gets_a_mask_with_its_confidence_for_a_box(cvat_sdk: Reader, address: str) -> None:
    truth = scene(SEED, "easy")
    left, top, right, bottom = truth.boxes_xyxy[0]

    [shape] = cvat_sdk.ask(
        action="interact",
        url=address,
        image=base64.b64encode(FILE).decode(),
        bounding_box=[[left, top], [right, bottom]],
    )

    height, width = truth.masks[0].shape
    assert shape["type"] == "mask"
    assert mask_iou(decoded(shape["points"], size_hw=(height, width)), truth.masks[0]) > 0.8
    assert [own["spec_id"] for own in shape["attributes"]] == [0]
    assert 0 < float(shape["attributes"][0]["value"]) <= 1


def test_what_the_service_refuses_is_the_items_fault(address: str) -> None:
    with ServiceInteractor(address) as service, pytest.raises(ItemError, match="damaged"):
        service.outline(BAD, Clicks(positive=((1.0, 1.0),)))


def test_a_service_that_is_not_there_is_named() -> None:
    with ServiceInteractor("http://127.0.0.1:9") as service, pytest.raises(UnreachableError, match="does not answer"):
        service.outline(FILE, Clicks(positive=((1.0, 1.0),)))


def test_an_answer_of_something_else_is_no_mask() -> None:
    with (
        a_cvat() as other,
        ServiceInteractor(other.address) as service,
        pytest.raises(AnswerError, match="answers 401 in no form of the service's"),
    ):
        service.outline(FILE, Clicks(positive=((1.0, 1.0),)))
