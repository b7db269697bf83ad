"""Checks the configuration that a benchmark's service is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.service import on_its_own


def test_a_server_section_keeps_its_keys_and_gets_the_port() -> None:
    config = {"models": ["a.yaml"], "server": {"ingress": "haproxy", "port": 1}}

    content = on_its_own(config, port=2, folder=Path("/run/mine"))

    assert content["server"] == {"ingress": "haproxy", "port": 2}
    assert content["store"] == {"folder": "/run/mine/store"}
    assert content["models"] == ["a.yaml"]


def test_without_a_server_section_it_stands_behind_haproxy() -> None:
    assert on_its_own({}, port=2, folder=Path("/run/mine"))["server"] == {"ingress": "haproxy", "port": 2}


def test_a_server_section_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="got list"):
        on_its_own({"server": []}, port=2, folder=Path("/run/mine"))
