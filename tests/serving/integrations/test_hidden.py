"""Tests that whoever is to label an image from nothing gets nothing from the routes of their tool."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from models.types import Item, Task
from pipelines.store.store import Store
from pipelines.types import Decision, PreLabel, Route
from serving.ingress import make_api
from serving.service import Service, open_service
from tests.serving.integrations.test_x_anylabeling import Sighted, a_png, asked, by_their_client, settings
from tests.serving.integrations.vision import DECISION


@dataclass(frozen=True)
class Decides:
    """A policy that decides the same about every item."""

    decision: Decision
    id: str = "p"

    def decide(self, item: Item, task: Task, pre_label: PreLabel) -> Decision:
        return self.decision


@asynccontextmanager
async def a_client(store_url: str, decision: Decision) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        async with open_service(settings(store_url), Sighted()) as service:
            policies = dict.fromkeys(service.flow.tasks, Decides(decision))
            yield replace(service, flow=replace(service.flow, policies=policies))

    api = make_api(opened, settings(store_url).server)
    transport = httpx.ASGITransport(app=api, raise_app_exceptions=False)
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        yield client


async def drawn(client: httpx.AsyncClient) -> tuple[list[Any], dict[str, Any]]:
    """What CVAT and X-AnyLabeling are told of the same image."""
    image = base64.b64encode(a_png()).decode()
    objects = (await client.post("/cvat/detection", json={"image": image})).json()
    return objects, (await client.post("/x-anylabeling/v1/predict", json=asked())).json()


@pytest.mark.parametrize(("route", "is_blind"), [("audit", True), ("review", True), ("scratch", False)])
async def test_a_hidden_pre_label_is_stored_and_not_drawn(postgres_url: str, route: Route, is_blind: bool) -> None:
    async with a_client(postgres_url, replace(DECISION, route=route, is_blind=is_blind)) as client:
        objects, answer = await drawn(client)

    async with Store.open(postgres_url) as store:
        [queue] = await store.queues()
    assert queue.pending == 2
    assert objects == []
    assert answer["success"]
    assert by_their_client(answer) == (0, False)  # which takes nothing from whoever draws


async def test_a_pre_label_that_may_be_seen_is_drawn(postgres_url: str) -> None:
    async with a_client(postgres_url, DECISION) as client:
        objects, answer = await drawn(client)

    assert len(objects) == 2
    assert by_their_client(answer) == (2, True)
