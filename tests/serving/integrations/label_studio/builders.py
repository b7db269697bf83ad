"""Builds services that label every medium, and calls of a Label Studio to them."""

from __future__ import annotations

import asyncio
import io
import math
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
from PIL import Image

from models.card import ModelCard
from models.errors import ModelError
from models.geometry import encode_mask
from models.types import Annotation, Box, Content, Mask, Prediction, Priority, TextSpan, TimeSpan
from pipelines.fetch import FetchPolicy
from pipelines.policy import ThresholdPolicy
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.store import Store
from pipelines.types import ModelUse
from serving.deployments import ReplicaState
from serving.settings import Settings
from tests.serving.builders import ObedientModels, settings_with
from tests.serving.integrations.label_studio.recorded import Recorded
from tests.serving.integrations.label_studio.studio import TOKEN

_CARDS = (
    ModelCard(name="detector", task="detection", adapter="transformers_detection", weights="unused"),
    ModelCard(name="segmenter", task="segmentation", adapter="segment_anything", weights="unused"),
    ModelCard(name="tagger", task="ner", adapter="token_classification", weights="unused"),
    ModelCard(name="transcriber", task="speech", adapter="faster_whisper", weights="unused"),
)


class PlayedModels(ObedientModels):
    """Finds in an image a Car, or what is pointed at; in a text a PER, its first word; in a recording what A says.

    Texts that tell ObedientModels what to do are done so, and "odd" has a score that is no number. While it ``hangs``
    nothing is found.
    """

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__()
        self.has_run = True
        self._is_free = asyncio.Event()
        if not hangs:
            self._is_free.set()
        self.asked: list[str] = []

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.asked.append(model)
        await self._is_free.wait()
        match model:
            case "detector":
                return _car(content)
            case "segmenter":
                return _pointed_at(content)
            case "transcriber":
                said = Annotation(id="0", label="A", geometry=TimeSpan(start_s=0.0, end_s=0.5), score=0.9, text="hello")
                return Prediction(annotations=(said,), signals={"min_score": 0.9}, duration_s=1.0)
        if content.data.decode() in ("wait", "fail", "full", "nothing"):
            return await super().predict(model, content, priority=priority, deadline_s=deadline_s)
        return _person(content.data.decode())

    def use_of(self, model: str) -> ModelUse:
        if not self.has_run:
            raise ModelError("model_stopped", "told never to have run")
        return super().use_of(model)

    async def states(self) -> dict[str, ReplicaState]:
        problem = None if self.is_up else "told to be down"
        return {card.name: ReplicaState(use=self.use_of(card.name), engine=None, problem=problem) for card in _CARDS}


def _person(text: str) -> Prediction:
    first = text.split(" ")[0]
    if not first:
        return Prediction(signals={"no_miss": 0.9})
    score = math.nan if text == "odd" else 0.9
    span = Annotation(id="0", label="PER", geometry=TextSpan(start=0, end=len(first)), score=score, text=first)
    return Prediction(annotations=(span,), signals={"min_score": 0.9})


def _car(content: Content) -> Prediction:
    width, height = Image.open(io.BytesIO(content.data)).size
    box = Annotation(id="0", label="Car", geometry=Box(xyxy=(0.0, 0.0, width / 2, height / 2)), score=0.9)
    return Prediction(annotations=(box,), signals={"min_score": 0.9}, size_hw=(height, width))


def _pointed_at(content: Content) -> Prediction:
    width, height = Image.open(io.BytesIO(content.data)).size
    found = list[Annotation]()
    for prompt in (*content.prompts.boxes, *content.prompts.points):
        bitmap = np.zeros((height, width), dtype=bool)
        bitmap[height // 4 : height // 2, width // 4 : width // 2] = True
        mask: Mask = encode_mask(bitmap)
        found.append(Annotation(id=str(len(found)), label=prompt.label or "object", geometry=mask, score=0.8))
    return Prediction(annotations=tuple(found), signals={"min_score": 0.8}, size_hw=(height, width))


def settings_of_all(store_url: str, **server: object) -> Settings:
    """A service for all four tasks."""
    policy = ThresholdPolicy(queue="all", accept_score=0.8, accept_nothing_found=0.9)
    return settings_with(store_url, **server).model_copy(
        update={
            "models": _CARDS,
            "fetch": FetchPolicy(only_allowed_hosts=True),  # the recorded calls name strangers
            "tasks": {
                "detection": ("detector",),
                "segmentation": ("detector", "segmenter"),
                "ner": ("tagger",),
                "speech": ("transcriber",),
            },
            "policies": dict.fromkeys(("detection", "segmentation", "ner", "speech"), policy),
        }
    )


def hasty(settings: Settings, answer_s: float, **more: float) -> Settings:
    """The settings with another deadline."""
    changed = settings.label_studio.model_copy(update={"answer_s": answer_s, "margin_s": 0.0, **more})
    return settings.model_copy(update={"label_studio": changed})


@asynccontextmanager
async def connected_to(
    store_url: str, url: str, *, task: str = "auto", is_automatic: bool = True
) -> AsyncIterator[tuple[Store, Connection, str]]:
    """A store in which project 2 of the server is connected; the connection, and its key."""
    async with Store.open(store_url) as store:
        made = await Connections(store).connect(url, 2, task=task, token=TOKEN, is_automatic=is_automatic)
        yield store, *made


async def replay(
    client: httpx.AsyncClient, call: Recorded, *, path: str = "auto", content: bytes | None = None
) -> httpx.Response:
    """Make a recorded call of what is below a path of ours."""
    return await client.request(
        call.method,
        f"/label-studio/{path}/{call.call}",
        content=call.content if content is None else content,
        headers=call.headers,
    )


def texts(*given: object) -> list[dict[str, Any]]:
    return [{"id": n + 1, "data": {"text": text}} for n, text in enumerate(given)]


async def predict(
    client: httpx.AsyncClient, tasks: Sequence[Any], *, config: str, path: str = "auto", context: Any = None
) -> httpx.Response:
    body = {"tasks": list(tasks), "project": "2.1795293816", "label_config": config, "params": {"context": context}}
    return await client.post(f"/label-studio/{path}/predict", json=body)


def png(width: int = 64, height: int = 48) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(16_000)
        written.writeframes(bytes(32_000))
    return file.getvalue()
