"""Checks how a peer's server is started and ended."""

from __future__ import annotations

import sys

import httpx
import pytest

from benchmarks.peers.process import serving

SERVER = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]


def test_a_server_answers_until_its_block_ends() -> None:
    with serving(SERVER, ready="/", settings={}) as address:
        assert httpx.get(address, trust_env=False).is_success

    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)


def test_a_server_that_ends_at_its_start_shows_its_log() -> None:
    with (
        pytest.raises(RuntimeError, match="no such model"),
        serving([sys.executable, "-c", "raise SystemExit('no such model')"], ready="/", settings={}),
    ):
        pass


def test_a_server_gets_one_compute_thread_and_its_settings() -> None:
    code = "import os; raise SystemExit(os.environ['OMP_NUM_THREADS'] + os.environ['NETWORK'])"

    with (
        pytest.raises(RuntimeError, match="1folder"),
        serving([sys.executable, "-c", code], ready="/", settings={"NETWORK": "folder"}),
    ):
        pass
