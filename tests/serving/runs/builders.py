"""Builds drops of texts, and services in this process that work on runs over them."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.types import Content, Prediction, Priority
from pipelines.fetch import FetchPolicy
from pipelines.policy import ThresholdPolicy
from serving.runs.worker import RunWorker
from serving.service import open_service
from serving.settings import Settings
from tests.serving.builders import ObedientModels, settings_with

_LONGEST_S = 60.0

# A task that is cancelled while SQLAlchemy makes it a connection leaves that to the garbage collector, which says so.
# A service's worker is never cancelled: its process ends.
CUT_OFF = pytest.mark.filterwarnings(r"ignore:[\s\S]*BaseConnection\.__del__:pytest.PytestUnraisableExceptionWarning")


class CountingModels(ObedientModels):
    """Counts how often it has seen each text.

    After ``most`` of them it ``waits`` until it ``goes_on``, or for ``each_s`` seconds, where these are given.
    """

    def __init__(self, *, most: int | None = None, each_s: float | None = None) -> None:
        super().__init__()
        self.seen = Counter[str]()
        self.done = 0
        self._most, self._each_s = most, each_s

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.seen[content.data.decode()] += 1
        if self._most is not None and self.seen.total() > self._most:
            self.waits.set()
            await (self.goes_on.wait() if self._each_s is None else asyncio.sleep(self._each_s))
        prediction = await super().predict(model, content, priority=priority, deadline_s=deadline_s)
        self.done += 1
        return prediction


def settings_over(root: Path | None, store_url: str, *, accept_score: float = 0.8, **server: object) -> Settings:
    """A service that may open what is below the root."""
    settings = settings_with(store_url, **server)
    fetch = FetchPolicy(roots=() if root is None else (root,))
    policies = {"ner": ThresholdPolicy(queue="texts", accept_score=accept_score, accept_nothing_found=0.9)}
    return settings.model_copy(update={"fetch": fetch, "policies": policies})


def a_drop(folder: Path, *texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n, text in enumerate(texts):
        (folder / f"{n:04}.txt").write_text(text)
    return folder


def unsure_texts(count: int) -> list[str]:
    """Texts that differ, each of which a person must see."""
    return [f"0.{n + 1:05}" for n in range(count)]


@asynccontextmanager
async def a_worker(settings: Settings, models: ObedientModels | None = None) -> AsyncIterator[RunWorker]:
    async with open_service(settings, models or ObedientModels()) as service:
        yield RunWorker(
            settings,
            models=service.models,
            store=service.store,
            flow=service.flow,
            media=service.media,
            look_s=0.01,
        )


@asynccontextmanager
async def working(settings: Settings, models: ObedientModels | None = None) -> AsyncIterator[None]:
    """A service's worker; it ends at once, as if it were killed. A test with it is marked CUT_OFF."""
    async with a_worker(settings, models) as worker:
        work = asyncio.create_task(worker.work())
        try:
            yield
        finally:
            was_working = not work.done()
            work.cancel()
            await asyncio.wait([work])
            gc.collect()  # now, and not in another test
        assert was_working, work.exception()


async def post(client: httpx.AsyncClient, drop: Path | str, **more: str) -> str:
    """The id of a new run over a drop."""
    answer = await client.post("/v1/runs", json={"drop": str(drop), "task": "ner"} | more)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def state(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/runs/{run_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until_over(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    """The run once nobody works on it any more."""
    async with asyncio.timeout(_LONGEST_S):
        while (run := await state(client, run_id))["status"] in ("queued", "running"):  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.02)
    return run


async def all_results(client: httpx.AsyncClient, run_id: str, *, limit: int = 100) -> list[dict[str, Any]]:
    """The results of a run, page by page."""
    results, cursor = list[dict[str, Any]](), "0"
    while cursor is not None:
        page = (await client.get(f"/v1/runs/{run_id}/results", params={"after": cursor, "limit": limit})).json()
        results += page["results"]
        cursor = page["next"]
    return results
