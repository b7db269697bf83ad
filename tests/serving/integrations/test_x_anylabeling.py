"""Tests the routes that X-AnyLabeling calls, over a real store."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.card import ModelCard
from models.errors import ItemError, OverloadedError
from models.geometry import encode_mask
from models.rings import filled
from models.types import Annotation, Box, Content, Prediction, Priority, WholeItem
from pipelines.policy import ThresholdPolicy
from pipelines.store.store import Store
from pipelines.types import ModelUse
from serving.deployments import ReplicaState
from serving.ingress import make_api
from serving.integrations.x_anylabeling import routes
from serving.integrations.x_anylabeling_answers import shapes
from serving.service import Service, open_service
from serving.settings import Settings, StoreSettings
from tests.pipelines.formats.builders import a_result, an_annotation

BITMAP = np.zeros((48, 64), dtype=bool)
BITMAP[10:20, 10:30] = True
BITMAP[12:15, 12:15] = False
BITMAP[30:40, 40:50] = True


@dataclass
class Sighted:
    """Models that see a dog, surely, and a cat, hardly, in any image; the segmenter outlines the dog."""

    trouble: Exception | None = None

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        if self.trouble is not None:
            raise self.trouble
        if not content.data.startswith(b"\x89PNG"):
            raise ItemError("unreadable_image", "the file is no image; send a PNG or a JPEG")
        dog = Annotation(id="0", label="dog", geometry=Box(xyxy=(10.0, 10.0, 30.0, 20.0)), score=0.75)
        cat = Annotation(id="1", label="cat", geometry=Box(xyxy=(0.0, 0.0, 5.5, 5.0)), score=0.25)
        if model == "segmenter":
            dog = replace(dog, geometry=encode_mask(BITMAP), parent_id="0")
            return Prediction(annotations=(dog,), size_hw=(48, 64))
        return Prediction(annotations=(dog, cat), size_hw=(48, 64))

    def use_of(self, model: str) -> ModelUse:
        return ModelUse(name=model, version="1", weights_digest="w" * 64, config_digest="c" * 64)

    async def states(self) -> dict[str, ReplicaState]:
        names = ("detector", "segmenter")
        return {name: ReplicaState(use=self.use_of(name), engine=None, problem=None) for name in names}

    def room_in_s(self, model: str) -> float | None:
        return None

    async def are_ready(self) -> bool:
        return True


def settings(store_url: str) -> Settings:
    def a_card(name: str, task: Any) -> ModelCard:
        return ModelCard(name=name, task=task, adapter="transformers_detection", weights="unused")

    policy = ThresholdPolicy(queue="images", accept_score=0.8, accept_nothing_found=0.9)
    return Settings(
        models=(a_card("detector", "detection"), a_card("segmenter", "segmentation")),
        tasks={"detection": ("detector",), "segmentation": ("detector", "segmenter")},
        policies={"detection": policy, "segmentation": policy},
        store=StoreSettings(url=store_url),
        lock_file=Path("unused.lock"),
    )


@asynccontextmanager
async def a_client(store_url: str, models: Sighted) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        async with open_service(settings(store_url), models) as service:
            yield service

    api = make_api(opened, settings(store_url).server)
    api.include_router(routes)
    transport = httpx.ASGITransport(app=api, raise_app_exceptions=False)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000/x-anylabeling") as client,
    ):
        yield client


@pytest.fixture
async def models() -> Sighted:
    return Sighted()


@pytest.fixture
async def client(postgres_url: str, models: Sighted) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(postgres_url, models) as opened:
        yield opened


def a_png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 48), "white").save(file, "PNG")
    return file.getvalue()


def asked(model: str = "detection", image: str | None = None, **params: object) -> dict[str, Any]:
    """A call as the client makes it, with all that it sends beside."""
    own = "data:image/png;base64," + base64.b64encode(a_png()).decode() if image is None else image
    sent = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001, "current_task": "x"} | params
    return {"model": model, "image": own, "params": sent}


def by_their_client(answer: dict[str, Any]) -> tuple[int, bool]:
    """How many shapes X-AnyLabeling gets, and whether they replace a person's (remote_server.py, predict_shapes)."""
    data = answer.get("data", {})
    replaces = data.get("replace")
    return len(data.get("shapes", [])), True if replaces is None else replaces


async def test_the_tasks_for_images_are_the_models(client: httpx.AsyncClient) -> None:
    found = (await client.get("/v1/models")).json()
    one = (await client.get("/v1/models/segmentation/info")).json()

    assert found["success"]
    assert list(found["data"]) == ["detection", "segmentation"]
    assert found["data"]["segmentation"]["display_name"] == "prelabel segmentation (detector, segmenter)"
    assert one["data"] == found["data"]["segmentation"] | {"model_id": "segmentation"}
    assert {"name": "edit_conf", "value": 0.25} in one["data"]["widgets"]


async def test_health_says_how_many_models_there_are(client: httpx.AsyncClient) -> None:
    found = (await client.get("/health")).json()

    assert (found["status"], found["models_loaded"]) == ("healthy", 2)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_boxes_come_as_rectangles_with_the_models_score(client: httpx.AsyncClient, prefix: str) -> None:
    image = prefix + base64.b64encode(a_png()).decode()

    found = (await client.post("/v1/predict", json=asked(image=image))).json()

    dog, cat = found["data"]["shapes"]
    assert (dog["label"], dog["shape_type"], dog["score"]) == ("dog", "rectangle", 0.75)
    assert dog["points"] == [[10.0, 10.0], [30.0, 10.0], [30.0, 20.0], [10.0, 20.0]]
    assert (cat["label"], cat["score"]) == ("cat", 0.25)
    assert (dog["group_id"], dog["kie_linking"], dog["flags"], dog["direction"]) == (None, [], None, 0)
    assert by_their_client(found) == (2, True)


async def test_what_is_below_the_threshold_is_left_out(client: httpx.AsyncClient) -> None:
    counts = [
        len((await client.post("/v1/predict", json=asked(conf_threshold=threshold))).json()["data"]["shapes"])
        for threshold in (0.25, 0.26, 0.75, 0.76)
    ]

    assert counts == [2, 1, 1, 0]


async def test_a_mask_comes_as_one_polygon_of_exactly_its_pixels(client: httpx.AsyncClient) -> None:
    found = (await client.post("/v1/predict", json=asked("segmentation"))).json()

    dog, cat = sorted(found["data"]["shapes"], key=lambda shape: -shape["score"])
    assert (dog["label"], dog["shape_type"], dog["score"]) == ("dog", "polygon", 0.75)
    assert np.array_equal(filled(np.array(dog["points"]), size_hw=(48, 64)), BITMAP)
    assert (cat["label"], cat["shape_type"]) == ("cat", "rectangle")  # which the segmenter has not outlined


async def test_an_image_is_stored_as_that_of_any_other_call(client: httpx.AsyncClient, postgres_url: str) -> None:
    await client.post("/v1/predict", json=asked())

    async with Store.open(postgres_url) as store:
        [queue] = await store.queues()
    assert (queue.name, queue.pending) == ("images", 1)


@pytest.mark.parametrize(
    ("body", "code", "own_code"),
    [
        (asked("sam9"), "MODEL_NOT_FOUND", "unknown_model"),
        (asked("ner"), "MODEL_NOT_FOUND", "unknown_model"),
        (asked(image="not base64!"), "INVALID_IMAGE", "invalid_item"),
        (asked(image=base64.b64encode(b"GIF89a").decode()), "INVALID_IMAGE", "unreadable_image"),
    ],
)
async def test_an_error_is_said_in_their_form_and_takes_nothing_from_whoever_draws(
    client: httpx.AsyncClient, body: dict[str, Any], code: str, own_code: str
) -> None:
    answer = await client.post("/v1/predict", json=body)

    found = answer.json()
    assert (answer.status_code, found["success"]) == (200, False)
    assert (found["error"]["code"], found["error"]["details"]) == (code, {"code": own_code})
    assert found["error"]["message"]
    assert by_their_client(found) == (0, False)
    assert by_their_client({"success": False, "error": found["error"]}) == (0, True)  # what their own server says


@pytest.mark.parametrize(
    ("trouble", "own_code"),
    [
        (OverloadedError(), "overloaded"),
        (ItemError("model_failed", "told to"), "model_failed"),
        (RuntimeError("told to"), "internal"),
    ],
)
async def test_a_model_that_fails_or_is_busy_takes_nothing_either(
    client: httpx.AsyncClient, models: Sighted, trouble: Exception, own_code: str
) -> None:
    models.trouble = trouble

    found = (await client.post("/v1/predict", json=asked())).json()

    assert (found["error"]["code"], found["error"]["details"]) == ("INFERENCE_ERROR", {"code": own_code})
    assert by_their_client(found) == (0, False)


async def test_the_info_of_a_model_that_is_not_there_says_which_are(client: httpx.AsyncClient) -> None:
    found = (await client.get("/v1/models/sam9/info")).json()

    assert found["error"]["code"] == "MODEL_NOT_FOUND"
    assert "detection, segmentation" in found["error"]["message"]


async def test_a_threshold_that_is_no_share_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/predict", json=asked(conf_threshold=2))).status_code == 422


def test_a_calibrated_confidence_stands_in_for_the_score_and_a_label_of_the_image_is_no_shape() -> None:
    box = an_annotation("0", score=0.25, confidence=0.875)
    whole = an_annotation("w", geometry=WholeItem(), score=1.0)

    [shape] = shapes(a_result("a.png", box, whole), threshold=0.5)

    assert shape["score"] == 0.875
