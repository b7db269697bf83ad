"""Breaks a replica's device, kills its successor, leaves the next without a device, and prints what came of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import ray
from ray import serve

from models.card import ModelCard
from models.errors import PrelabelError
from models.types import Content
from serving.crashes import CrashLog
from serving.deployments import application, application_name
from serving.handles import ServeModels
from tests.serving.fragile import open_unless

CARD = ModelCard(name="fragile", task="ner", adapter="token_classification", weights="unused", num_cpus=0.1)
PATIENCE_S = 60.0


async def scenario(crashes: Path, no_device: Path) -> dict[str, str | float]:
    models = await ServeModels.connect({CARD.name: CARD})

    async def answer_to(text: str) -> str:
        content = Content(media="text", data=text.encode())
        try:
            await models.predict(CARD.name, content, priority="interactive", deadline_s=None)
        except PrelabelError as err:
            return err.code
        return "labels"

    async def problem() -> str:
        return (await models.states())[CARD.name].problem or ""

    async def is_red() -> bool:
        return not await models.are_ready()

    async def is_stopped() -> bool:
        return "not started again" in await problem()

    saw: dict[str, str | float] = {"before": await answer_to("fine"), "broken_process": living(crashes)}
    saw["broken"], broken_at = await answer_to("break"), time.monotonic()
    await until(is_red)
    saw["seconds_until_red"] = time.monotonic() - broken_at
    await until(models.are_ready)
    saw["replaced"], saw["killed"] = await answer_to("fine"), living(crashes)
    kill(living(crashes), no_device)
    await until(is_stopped)
    return saw | {"stopped": await answer_to("fine"), "problem": await problem()}


def kill(process_id: str, no_device: Path) -> None:
    """End a replica as the kernel does when memory runs out; its successor will find no device."""
    no_device.touch()
    os.kill(int(process_id), signal.SIGKILL)


def living(crashes: Path) -> str:
    [mark] = crashes.glob("*.alive")
    return mark.stem


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - the cluster has no event for it
            await asyncio.sleep(0.1)


def main(folder: Path) -> None:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20)
    try:
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
        log, no_device = CrashLog(folder / "crashes", most=3), folder / "no-device"
        replica = application(CARD, partial(open_unless, no_device), log)
        serve.run(replica, name=application_name(CARD), route_prefix=None)
        saw = asyncio.run(scenario(folder / "crashes", no_device))
    finally:
        serve.shutdown()
        ray.shutdown()
    print(json.dumps(saw))  # the last line, behind whatever Ray says


if __name__ == "__main__":
    main(Path(sys.argv[1]))
