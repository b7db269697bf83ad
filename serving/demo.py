"""Runs the main job on the sample drop: through HTTP, as a user would."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
from pydantic import TypeAdapter

from models.errors import PrelabelError
from models.types import Item, Task
from pipelines.fetch.files import path_of
from pipelines.formats.results import Result
from pipelines.sources.folder import items_of

DROP = Path(__file__).parents[1] / "models" / "demo" / "drop"
TASKS: tuple[Task, ...] = ("detection", "segmentation", "ner", "speech")

_ITEMS_PER_CALL = 4
_CALLS_AT_ONCE = 4
_RESULTS = TypeAdapter(dict[str, list[Result]])


def sample_items() -> dict[Task, list[Item]]:
    """The sample drop: a folder for each task; some of its files are bad on purpose."""
    return {task: [replace(i, id=f"{task}/{i.id}") for i in items_of(DROP / task, task)] for task in TASKS}


async def label(
    address: str, items: dict[Task, list[Item]], *, on_done: Callable[[Task, int], None]
) -> tuple[list[Result], dict[Task, float]]:
    """Send the items to a service, task by task.

    Returns:
        The results in the items' order, and the seconds that each task took.
    """
    results: list[Result] = []
    seconds: dict[Task, float] = {}
    async with httpx.AsyncClient(base_url=address, timeout=120.0, trust_env=False) as client:
        for task, of_task in items.items():
            start = time.perf_counter()
            results += await _label_task(client, task, of_task, on_done=on_done)
            seconds[task] = time.perf_counter() - start
    return results, seconds


async def _label_task(
    client: httpx.AsyncClient, task: Task, items: Sequence[Item], *, on_done: Callable[[Task, int], None]
) -> list[Result]:
    slots = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def call(few: Sequence[Item]) -> list[Result]:
        async with slots:
            response = await client.post("/v1/prelabel", json={"items": [_body(item, task) for item in few]})
        if response.status_code != httpx.codes.OK:
            raise PrelabelError("service_failed", f"the service answered {response.status_code}: {response.text[:500]}")
        on_done(task, len(few))
        return _RESULTS.validate_json(response.content)["results"]

    starts = range(0, len(items), _ITEMS_PER_CALL)
    calls = await asyncio.gather(*(call(items[start : start + _ITEMS_PER_CALL]) for start in starts))
    return [result for results in calls for result in results]


def _body(item: Item, task: Task) -> dict[str, str]:
    content = path_of(item.uri or "").read_bytes()
    return {"id": item.id, "task": task, "data": base64.b64encode(content).decode()}


def queues(address: str) -> list[dict[str, str | int | None]]:
    """The service's review queues with their counts."""
    response = httpx.get(f"{address}/v1/queues", trust_env=False)
    response.raise_for_status()
    return response.json()["queues"]
