"""Checks what Ray is told for each ingress."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from serving.ray_flags import flags
from serving.settings import ServerSettings


@pytest.mark.parametrize(("ingress", "is_on"), [("proxy", "0"), ("haproxy", "1")])
def test_one_switch_sets_both_of_rays(tmp_path: Path, ingress: str, is_on: str) -> None:
    found = flags(ServerSettings.model_validate({"ingress": ingress}), tmp_path)

    assert (found["RAY_SERVE_ENABLE_HA_PROXY"], found["RAY_SERVE_THROUGHPUT_OPTIMIZED"]) == (is_on, is_on)


@pytest.mark.parametrize("ingress", ["proxy", "haproxy"])
def test_rays_own_processes_stay_on_loopback_and_ask_for_a_token(tmp_path: Path, ingress: str) -> None:
    found = flags(ServerSettings.model_validate({"ingress": ingress}), tmp_path)

    assert found["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert found["RAY_AUTH_MODE"] == "token"


def test_a_message_between_replicas_may_be_as_large_as_a_body(tmp_path: Path) -> None:
    server = ServerSettings(ingress="haproxy", max_body_bytes=512 * 2**20)

    assert int(flags(server, tmp_path)["RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"]) > server.max_body_bytes


def test_every_file_of_haproxy_lies_in_the_folder_of_the_start(tmp_path: Path) -> None:
    found = flags(ServerSettings(ingress="haproxy"), tmp_path)

    paths = [value for name, value in found.items() if name.startswith("RAY_SERVE_HAPROXY_") and "/" in value]
    assert len(paths) == 5
    assert all(Path(path).is_relative_to(tmp_path) for path in paths)


def test_the_stand_in_is_a_program_that_becomes_haproxy(tmp_path: Path) -> None:
    program = flags(ServerSettings(ingress="haproxy"), tmp_path)["RAY_SERVE_HAPROXY_BINARY_PATH"]

    answer = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)

    assert "HAProxy version" in answer.stdout
    assert Path(program).stat().st_mode & 0o077 == 0
