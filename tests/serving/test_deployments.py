"""Checks what becomes of a replica whose device breaks, in this process and in a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from models.errors import PrelabelError
from models.types import Content, Prediction
from serving.bundles import Asked
from serving.crashes import CrashLog
from serving.deployments import ModelReplica
from tests.serving.fragile import FAULT, NO_DEVICE, open_engine, open_unless

ROOT = Path(__file__).parents[2]


def content(text: str) -> Content:
    return Content(media="text", data=text.encode())


def a_log(folder: Path) -> CrashLog:
    return CrashLog(folder / "crashes", most=2)


@asynccontextmanager
async def a_replica(folder: Path) -> AsyncIterator[ModelReplica]:
    replica = ModelReplica(open_engine, a_log(folder))
    yield replica
    if replica._engine is not None:
        await replica._engine.close()


async def ask(replica: ModelReplica, text: str) -> Prediction | PrelabelError:
    [answer] = await replica.predict([Asked(content=content(text), priority="interactive", deadline_s=None)])
    return answer


async def test_a_lost_device_fails_the_health_check_and_is_noted_once(tmp_path: Path) -> None:
    async with a_replica(tmp_path) as replica:
        await replica.check_health()
        answer = await ask(replica, "break")
        for _ in range(3):
            with pytest.raises(RuntimeError, match="illegal memory access"):
                await replica.check_health()
        state = await replica.state()

    assert isinstance(answer, PrelabelError)
    assert answer.code == "device_lost"
    assert state.problem is not None
    assert len(a_log(tmp_path).recent()) == 1


async def test_after_too_many_deaths_a_replica_loads_nothing_and_says_why(tmp_path: Path) -> None:
    for _ in range(2):
        a_log(tmp_path).add(FAULT)

    async with a_replica(tmp_path) as replica:
        answer = await ask(replica, "fine")
        state = await replica.state()
        await replica.check_health()  # nothing would come of another one

    assert isinstance(answer, PrelabelError)
    assert answer.code == "model_stopped"
    assert FAULT in answer.message
    assert state.engine is None
    assert FAULT in (state.problem or "")


def test_a_model_that_cannot_be_opened_is_noted(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=NO_DEVICE):
        ModelReplica(partial(open_unless, tmp_path), a_log(tmp_path))

    assert [crash.reason for crash in a_log(tmp_path).recent()] == [NO_DEVICE]


@pytest.mark.ray
@pytest.mark.timeout(1_200)
def test_a_broken_device_is_seen_within_ten_seconds_replaced_and_given_up_when_it_breaks_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.serving.break_replicas", str(tmp_path)]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    saw = json.loads(done.stdout.splitlines()[-1])

    assert saw["before"] == "labels"
    assert saw["broken"] == "device_lost"
    assert saw["seconds_until_red"] < 10.0
    assert saw["replaced"] == "labels"
    assert saw["killed"] != saw["broken_process"]
    assert saw["stopped"] == "model_stopped"
    assert NO_DEVICE in saw["problem"]
    broke, died, found_none = (crash.reason for crash in a_log(tmp_path).recent())
    assert FAULT in broke
    assert "without a word" in died
    assert found_none == NO_DEVICE
