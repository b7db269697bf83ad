"""Checks the running service behind HAProxy: what it opens, large items, clients that leave, a clean end."""

from __future__ import annotations

import base64
import os
import select
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, LiteralString

import httpx
import numpy as np
import psycopg
import pytest
from PIL import Image

from serving import listeners
from serving.demo import DROP
from tests.serving.conftest import Served, demo_config, forwarded_after_leaving, noisy_pngs, sent, served

# One service for the whole file; the last test ends it.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Served]:
    config: dict[str, Any] = demo_config()
    config |= {"server": {"ingress": "haproxy"}, "store": {"url": postgres_server}}
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


def test_told_to_end_it_leaves_no_process_and_no_file(service: Served) -> None:
    processes = [os.pidfd_open(pid) for pid in listeners.tree(service.process.pid)[1:]]
    names = {listener.process for listener in listeners.of_tree(service.process.pid)}
    assert "haproxy" in names
    folders = [Path(argument).parents[1] for argument in _haproxys_arguments(service) if argument.endswith(".cfg")]
    assert folders

    service.process.terminate()

    assert service.process.wait(timeout=60) == 0
    assert all(_ends(process) for process in processes)
    assert not any(folder.exists() for folder in folders)


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
    readable = bool(poll.poll(30_000))
    os.close(pidfd)
    return readable
