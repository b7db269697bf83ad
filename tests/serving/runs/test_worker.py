"""Tests that posted runs are worked on once, survive their worker, and end as they should."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from models.errors import ModelError
from pipelines.types import ModelUse
from serving.drops.pace import at_once_of_run
from tests.serving.builders import ObedientModels, a_client
from tests.serving.runs.builders import (
    CUT_OFF,
    CountingModels,
    a_drop,
    a_worker,
    all_results,
    post,
    settings_over,
    state,
    unsure_texts,
    until_over,
    working,
)

pytestmark = CUT_OFF

_LONGEST_S = 60.0


@pytest.fixture
async def client(postgres_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_over(tmp_path, postgres_url)) as opened:
        yield opened


def names_in(drop: Path) -> list[str]:
    return sorted(file.name for file in drop.iterdir())


async def assert_complete(client: httpx.AsyncClient, run_id: str, drop: Path) -> None:
    """Every file has one result, and each of them is queued for a person once."""
    names = names_in(drop)
    results = await all_results(client, run_id)
    assert sorted(result["id"] for result in results) == names
    assert {result["status"] for result in results} == {"labels"}
    [queue] = (await client.get("/v1/queues")).json()["queues"]
    assert queue["pending"] == len(names)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_LONGEST_S):
        while not is_true():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.005)


async def test_two_services_on_one_store_work_on_each_run_once(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    drops = [a_drop(tmp_path / f"drop {n}", f"0.{n}1", f"0.{n}2", f"0.{n}3") for n in range(1, 4)]
    run_ids = [await post(client, drop) for drop in drops]
    settings, both = settings_over(tmp_path, postgres_url, max_runs=1), (CountingModels(most=0), CountingModels(most=0))

    async with working(settings, both[0]), working(settings, both[1]):
        for models in both:
            await models.waits.wait()  # each has a run, which the other looks at in vain
        statuses = [(await state(client, run_id))["status"] for run_id in run_ids]
        for models in both:
            models.goes_on.set()
        runs = [await until_over(client, run_id) for run_id in run_ids]

    assert statuses == ["running", "running", "queued"]
    assert [(run["status"], run["attempt"], run["labels"]) for run in runs] == [("done", 1, 3)] * 3
    seen = both[0].seen + both[1].seen
    assert (len(seen), seen.total()) == (9, 9)


async def test_a_service_works_on_no_more_runs_at_a_time_than_it_may(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    run_ids = [await post(client, a_drop(tmp_path / f"drop {n}", f"0.{n}1")) for n in range(1, 4)]
    models = CountingModels(most=0)

    async with working(settings_over(tmp_path, postgres_url, max_runs=2), models):
        await until(lambda: models.seen.total() == 2)
        first = [(await state(client, run_id))["status"] for run_id in run_ids]
        models.goes_on.set()
        last = [(await until_over(client, run_id))["status"] for run_id in run_ids]

    assert first == ["running", "running", "queued"]
    assert last == ["done"] * 3


@contextmanager
def driver(url: str, root: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works on runs; it is killed at the end."""
    command = [sys.executable, "-m", "tests.serving.runs.driver", url, str(root), str(log)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def computed(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


async def test_a_run_whose_worker_is_killed_goes_on_with_the_next_and_loses_and_repeats_nothing(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    drop, log = a_drop(tmp_path / "drop", *unsure_texts(1_500)), tmp_path / "log"
    settings = settings_over(tmp_path, postgres_url)
    run_id, kills = await post(client, drop), 0

    for count in (200, 900):
        with driver(postgres_url, tmp_path, log) as process:
            await until(lambda count=count: computed(log).total() >= count)
            assert process.poll() is None
            process.kill()
            assert process.wait() == -signal.SIGKILL
            kills += 1
        run = await state(client, run_id)
        assert run["status"] == "running"
        assert 0 < len(await all_results(client, run_id, limit=1_000)) < 1_500
    models = CountingModels()
    async with working(settings, models):
        run = await until_over(client, run_id)

    assert (run["status"], run["attempt"], run["labels"], run["failed"]) == ("done", kills + 1, 1_500, 0)
    await assert_complete(client, run_id, drop)
    work = computed(log) + models.seen
    assert len(work) == 1_500
    assert work.total() - 1_500 <= kills * at_once_of_run(settings, "ner")


async def test_a_run_that_is_cut_off_by_the_end_of_its_service_goes_on_with_the_next(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    drop, settings = a_drop(tmp_path / "drop", *unsure_texts(100)), settings_over(tmp_path, postgres_url)
    run_id, models = await post(client, drop), CountingModels(most=50)

    async with working(settings, models):
        await models.waits.wait()
    left = await state(client, run_id)
    async with working(settings):
        run = await until_over(client, run_id)

    assert (left["status"], run["status"], run["attempt"]) == ("running", "done", 2)
    await assert_complete(client, run_id, drop)


async def test_a_run_that_is_stopped_ends_within_the_batches_in_flight_and_keeps_what_is_done(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    settings, models = settings_over(tmp_path, postgres_url), CountingModels(most=100, each_s=0.1)
    run_id = await post(client, a_drop(tmp_path / "drop", *unsure_texts(3_000)))  # ten seconds' work

    async with working(settings, models):
        await models.waits.wait()
        seen = models.seen.total()
        answers = [await client.delete(f"/v1/runs/{run_id}") for _ in range(2)]
        run = await until_over(client, run_id)
    after = await client.delete(f"/v1/runs/{run_id}")

    looks = 20  # at most, of a tenth of a second, until the worker has seen that it shall end
    assert models.seen.total() - seen <= looks * at_once_of_run(settings, "ner") < 2_900
    assert [(answer.status_code, answer.json()["is_stopping"]) for answer in answers] == [(202, True)] * 2
    assert (run["status"], run["is_stopping"], after.status_code) == ("cancelled", False, 200)
    assert 100 < run["labels"] < 3_000
    assert run["labels"] == models.done == len(await all_results(client, run_id)) == models.seen.total()


async def test_a_run_that_was_stopped_while_nobody_worked_on_it_is_cancelled_and_not_worked_on(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    settings, models = settings_over(tmp_path, postgres_url), CountingModels(most=20)
    run_id = await post(client, a_drop(tmp_path / "drop", *unsure_texts(100)))
    async with working(settings, models):
        await models.waits.wait()

    stopped, others = await client.delete(f"/v1/runs/{run_id}"), CountingModels()
    async with working(settings, others):
        run = await until_over(client, run_id)

    assert (stopped.status_code, stopped.json()["status"]) == (202, "running")
    assert (run["status"], run["attempt"], others.seen.total()) == ("cancelled", 1, 0)


async def test_a_run_does_not_go_on_under_another_policy_and_says_so(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    models = CountingModels(most=20)
    run_id = await post(client, a_drop(tmp_path / "drop", *unsure_texts(100)))
    async with working(settings_over(tmp_path, postgres_url), models):
        await models.waits.wait()

    others = CountingModels()
    async with working(settings_over(tmp_path, postgres_url, accept_score=0.5), others):
        run = await until_over(client, run_id)

    assert (run["status"], others.seen.total()) == ("failed", 0)
    assert "policy changed since it began" in run["reason"]


async def test_a_run_over_a_manifest_that_has_changed_does_not_go_on(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    manifest = tmp_path / "drop.jsonl"
    manifest.write_text('{"id": "a", "text": "0.5"}\n')
    run_id = await post(client, manifest)
    settings, models = settings_over(tmp_path, postgres_url), CountingModels()
    async with a_worker(settings, models) as worker, worker._posted.take(run_id, worker="gone") as run:
        assert run is not None
        async with worker._begun(run):
            pass  # and is killed before anything is listed

    manifest.write_text('{"id": "a", "text": "0.5"}\n{"id": "b", "text": "0.6"}\n')
    async with working(settings, models):
        failed = await until_over(client, run_id)

    assert (failed["status"], models.seen.total()) == ("failed", 0)
    assert "size changed since it began" in failed["reason"]


async def test_a_drop_that_is_gone_when_its_turn_comes_fails_the_run_with_the_reason(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    drop = a_drop(tmp_path / "drop")
    run_id = await post(client, drop)
    drop.rmdir()

    async with working(settings_over(tmp_path, postgres_url)):
        run = await until_over(client, run_id)

    assert run["status"] == "failed"
    assert "not there" in run["reason"]


async def test_a_run_waits_while_its_models_do_not_answer(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    class Starting(ObedientModels):
        def use_of(self, model: str) -> ModelUse:
            if not self.is_up:
                raise ModelError("model_stopped", "it has never run")
            return super().use_of(model)

        async def states(self) -> dict:
            return {}

    run_id, models = await post(client, a_drop(tmp_path / "drop", "0.9")), Starting()
    models.is_up = False

    async with a_worker(settings_over(tmp_path, postgres_url), models) as worker:
        early = await worker.work_on_next()
        waits = await state(client, run_id)
        models.is_up = True
        later = await worker.work_on_next()

    assert (early, waits["status"], waits["attempt"], later) == (False, "queued", 0, True)
    assert (await state(client, run_id))["labels"] == 1


async def test_a_model_that_is_stopped_for_good_ends_the_run_and_costs_no_item(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    class Stopped(ObedientModels):
        async def predict(self, *args: object, **kwargs: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise ModelError("model_stopped", "this model is stopped: its device is broken")

    drop, settings = a_drop(tmp_path / "drop", *unsure_texts(50)), settings_over(tmp_path, postgres_url)
    run_id = await post(client, drop)

    async with working(settings, Stopped()):
        failed = await until_over(client, run_id)
    await client.post(f"/v1/runs/{run_id}/redrive", json={"codes": []})
    async with working(settings):
        run = await until_over(client, run_id)

    assert (failed["status"], failed["failed"], run["status"]) == ("failed", 0, "done")
    assert "its device is broken" in failed["reason"]
    await assert_complete(client, run_id, drop)


async def test_a_run_outlasts_a_store_that_is_away_for_a_while(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path, block_database: Callable[[bool], None]
) -> None:
    drop, models = a_drop(tmp_path / "drop", *unsure_texts(200)), CountingModels(most=100)
    run_id = await post(client, drop)

    async with working(settings_over(tmp_path, postgres_url), models):
        await models.waits.wait()
        block_database(True)
        models.goes_on.set()
        refused = await client.get(f"/v1/runs/{run_id}")
        block_database(False)
        run = await until_over(client, run_id)

    assert refused.status_code == 503
    assert run["status"] == "done"
    await assert_complete(client, run_id, drop)
    assert set(models.seen.values()) == {1}


async def test_items_go_to_the_models_as_bulk_work_that_nobody_waits_for(
    client: httpx.AsyncClient, postgres_url: str, tmp_path: Path
) -> None:
    run_id, models = await post(client, a_drop(tmp_path / "drop", "0.9", "0.5")), ObedientModels()

    async with working(settings_over(tmp_path, postgres_url), models):
        await until_over(client, run_id)

    assert models.urgencies == [("bulk", None)] * 2
