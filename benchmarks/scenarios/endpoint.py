"""Puts queries to the pre-label endpoint of a service, one item a call."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import orjson
from pydantic import TypeAdapter

from benchmarks import service
from benchmarks.scenarios.target import MeasuredModel, Settings, Work
from models.card import ModelCard
from models.errors import ItemError, OverloadedError, PrelabelError
from models.media import MediaLimits
from models.types import Content, Task
from pipelines.policy import ThresholdPolicy
from pipelines.tasks import CHAINS

_CALL_TIMEOUT_S = 120.0


class Endpoint:
    """The pre-label endpoint of a running service: one item a call, connections kept open."""

    def __init__(self, client: httpx.AsyncClient, task: Task, models: Sequence[MeasuredModel], *, at_once: int) -> None:
        self._client, self.models, self.at_once = client, tuple(models), at_once
        self._task: Task = task

    async def label(self, content: Content) -> None:
        try:
            response = await self._client.post("/v1/prelabel", content=_body(content, self._task))
        except httpx.TimeoutException as err:
            raise ItemError("timeout", f"no answer within {_CALL_TIMEOUT_S} s") from err
        except httpx.TransportError as err:
            raise PrelabelError("connection_failed", f"the call failed: {type(err).__name__}") from err
        _check(response)

    def work(self) -> dict[str, Work]:
        return {}


def _body(content: Content, task: Task) -> bytes:
    is_text = content.media == "text"
    given = {"text": content.data.decode()} if is_text else {"data": base64.b64encode(content.data).decode()}
    prompts = {"prompts": content.prompts} if content.prompts.boxes else {}
    return orjson.dumps({"items": [{"id": "0", "task": task, **given, **prompts}]})


def _check(response: httpx.Response) -> None:
    if response.status_code in (429, 503):
        raise OverloadedError(message=f"the service answered {response.status_code}")
    if response.status_code != httpx.codes.OK:
        raise PrelabelError(f"http_{response.status_code}", response.text[:200])
    [result] = orjson.loads(response.content)["results"]
    if result["status"] == "failed":
        raise PrelabelError(result["error"]["code"], result["error"]["message"])


@asynccontextmanager
async def at_address(address: str, task: Task, *, at_once: int, api_key: str | None = None) -> AsyncIterator[Endpoint]:
    """A running service that does the task.

    Raises:
        PrelabelError: nobody answers there, or not as prelabel does.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=address, headers=headers, limits=limits, timeout=_CALL_TIMEOUT_S, trust_env=False
    ) as client:
        yield Endpoint(client, task, await _deployed(client, address, task), at_once=at_once)


async def _deployed(client: httpx.AsyncClient, address: str, task: Task) -> list[MeasuredModel]:
    """The service's models that may take part in the task."""
    tasks = {done for chain in CHAINS[task] for done in chain}
    try:
        response = await client.get("/v1/models")
        response.raise_for_status()
        models = TypeAdapter(list[MeasuredModel]).validate_python(response.json()["models"])
    except (httpx.HTTPError, ValueError, KeyError) as err:
        message = f"no prelabel service at {address} ({type(err).__name__}: {err}); start one with 'prelabel serve'"
        raise PrelabelError("no_service", message) from err
    return [model for model in models if model.task in tasks]


@asynccontextmanager
async def started(task: Task, settings: Settings, *, at_once: int) -> AsyncIterator[Endpoint]:
    """A service of its own for the task's models, on a free loopback port, with a store that goes when it ends."""
    with service.running(configuration(task, settings)) as address:
        async with at_address(address, task, at_once=at_once) as running:
            yield running


def configuration(task: Task, settings: Settings) -> dict[str, object]:
    """The part of a configuration that one task needs, as a file of its own; the user's store is not in it."""
    cards = [settings.cards[name] for name in settings.tasks[task]]
    return {
        "models": TypeAdapter(list[ModelCard]).dump_python(cards, mode="json"),
        "tasks": {task: list(settings.tasks[task])},
        "policies": {task: TypeAdapter(ThresholdPolicy).dump_python(settings.policies[task], mode="json")},
        "media": TypeAdapter(MediaLimits).dump_python(settings.media, mode="json"),
        "lock_file": str(settings.lock_file),
    }
