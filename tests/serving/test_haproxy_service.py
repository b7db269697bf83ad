"""Checks two gateways behind HAProxy: what they open and count, large items, clients that leave, a clean end."""

from __future__ import annotations

import base64
import math
import os
import select
import signal
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, LiteralString

import httpx
import numpy as np
import psycopg
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from serving import listeners
from serving.demo import DROP
from tests.serving.conftest import Served, demo_config, forwarded_after_leaving, noisy_pngs, sent, served

# One service for the whole file; the last test ends it.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Served]:
    config: dict[str, Any] = demo_config()
    config |= {"server": {"ingress": "haproxy", "gateways": 2}, "store": {"url": postgres_server}}
    config["models"] = [card for card in config["models"] if "/detection/" in card]
    config["tasks"] = {"detection": config["tasks"]["detection"]}
    config["policies"] = {"detection": {**config["policies"]["detection"], "queue": "behind-haproxy"}}
    with served(config, tmp_path_factory.mktemp("haproxy")) as running:
        yield running


@pytest.fixture
def client(service: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.address, timeout=120, trust_env=False) as opened:
        yield opened


def an_item(data: bytes, name: str = "a") -> dict[str, str]:
    return {"id": name, "task": "detection", "data": base64.b64encode(data).decode()}


def a_bad_item() -> dict[str, str]:
    return {"id": "a", "task": "detection", "data": "no base64"}


def a_noisy_png(side: int) -> bytes:
    file = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(file, "PNG", compress_level=0)
    return file.getvalue()


def test_only_loopback_is_open_but_for_calls_between_replicas(service: Served) -> None:
    found = listeners.of_tree(service.process.pid)

    [front] = [listener for listener in found if listener.port == httpx.URL(service.address).port]
    assert front.process == "haproxy"
    open_to_others = [listener for listener in found if not listener.is_loopback]
    assert all(listener.process.startswith("ray::ServeReplica") for listener in open_to_others)
    assert len({listener.pid for listener in open_to_others}) == len(open_to_others)


def test_what_is_open_to_others_speaks_no_http(service: Served) -> None:
    [first, *_] = [listener for listener in listeners.of_tree(service.process.pid) if not listener.is_loopback]

    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{first.port}/healthz", trust_env=False)


def test_an_item_larger_than_grpcs_four_mebibytes_is_labelled(client: httpx.Client) -> None:
    image = a_noisy_png(1_400)
    assert len(image) > 5 * 2**20

    [result] = client.post("/v1/prelabel", json={"items": [an_item(image)]}).json()["results"]

    assert result["error"] is None
    assert result["status"] in ("labels", "nothing_found")


def test_health_is_answered_while_the_gateways_are_too_busy_to_answer(service: Served, client: httpx.Client) -> None:
    gateways = _gateways(service)
    for pid in gateways:
        os.kill(pid, signal.SIGSTOP)
    try:
        health = client.get("/healthz")
        with pytest.raises(httpx.ReadTimeout):
            client.get("/livez", timeout=1.0)
    finally:
        for pid in gateways:
            os.kill(pid, signal.SIGCONT)

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert health.headers["content-type"] == "application/json"
    assert client.get("/livez").json() == {"status": "ok"}


def test_a_client_cannot_set_serves_own_timeout(client: httpx.Client) -> None:
    item = an_item((DROP / "detection" / "easy_00.jpg").read_bytes())

    answer = client.post("/v1/prelabel", json={"items": [item]}, headers={"x-request-timeout-seconds": "0.0001"})

    assert answer.status_code == 200


def test_nothing_is_stored_for_a_client_that_left(service: Served, client: httpx.Client, postgres_server: str) -> None:
    data = a_noisy_png(256)
    items = [an_item(data, name=str(n)) for n in range(100)]

    with sent(service.address, {"items": items, "run": "left"}), _store(postgres_server) as store:
        while not _count(store, "SELECT count(*) FROM runs WHERE id = 'left'"):
            pass  # until the gateway works on it
    # Queues are first in, first out: had the first call gone on, it would be done before this one.
    answer = client.post("/v1/prelabel", json={"items": items, "run": "stayed"})

    assert answer.status_code == 200
    with _store(postgres_server) as store:
        assert _count(store, "SELECT count(*) FROM items WHERE run_id = 'stayed'") == len(items)
        assert _count(store, "SELECT count(*) FROM items WHERE run_id = 'left'") == 0


def test_what_nobody_waits_for_any_more_is_not_computed(client: httpx.Client) -> None:
    items = noisy_pngs(100)

    assert forwarded_after_leaving(client, items) < len(items)


def test_the_counts_of_all_gateways_are_added_up_and_one_that_dies_takes_only_its_own_along(service: Served) -> None:
    before = _refused(service.address)
    for _ in range(20):  # a connection each, as HAProxy shares out calls
        answer = httpx.post(f"{service.address}/v1/prelabel", json={"items": [a_bad_item()]}, trust_env=False)
        assert answer.status_code == 200
    assert [_refused(service.address) for _ in range(4)] == [before + 20] * 4
    first, second = _gateways(service)

    os.kill(first, signal.SIGKILL)

    until = time.monotonic() + 30
    while math.isnan(left := _refused(service.address)) and time.monotonic() < until:
        pass
    assert 0 < left < before + 20
    assert second in _gateways(service)


def test_told_to_end_it_leaves_no_process_and_no_file(service: Served) -> None:
    processes = [os.pidfd_open(pid) for pid in listeners.tree(service.process.pid)[1:]]
    names = {listener.process for listener in listeners.of_tree(service.process.pid)}
    assert "haproxy" in names
    folders = [Path(argument).parents[1] for argument in _haproxys_arguments(service) if argument.endswith(".cfg")]
    assert folders

    service.process.terminate()

    assert service.process.wait(timeout=300) == 0
    assert all(_ends(process) for process in processes)
    assert not any(folder.exists() for folder in folders)


def _counted(address: str) -> float:
    """How many items all gateways say that they have refused."""
    text = httpx.get(f"{address}/metrics", trust_env=False).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(
        sample.value
        for sample in samples
        if sample.name == "prelabel_items_total" and sample.labels["outcome"] == "invalid_item"
    )


def _refused(address: str) -> float:
    """How many items all gateways together say that they have refused; nan while one that died is still asked."""
    try:
        answer = httpx.get(f"{address}/metrics", trust_env=False).raise_for_status()
    except httpx.HTTPError:
        return math.nan
    families = text_string_to_metric_families(answer.text)
    samples = (sample for family in families for sample in family.samples if sample.name == "prelabel_items_total")
    return sum(sample.value for sample in samples if sample.labels["outcome"] == "invalid_item")


def _gateways(service: Served) -> list[int]:
    found = listeners.of_tree(service.process.pid)
    return sorted({listener.pid for listener in found if listener.process == "ray::ServeReplica:gateway:gateway"})


def _store(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def _count(store: psycopg.Connection, query: LiteralString) -> int:
    [(number,)] = store.execute(query).fetchall()
    return number


def _haproxys_arguments(service: Served) -> list[str]:
    [pid] = {listener.pid for listener in listeners.of_tree(service.process.pid) if listener.process == "haproxy"}
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _ends(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    readable = bool(poll.poll(300_000))
    os.close(pidfd)
    return readable
