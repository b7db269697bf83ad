from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.label_studio import server as servers
from tests.label_studio.server import LabelStudioServer, label_studio


def test_it_runs_the_version_that_is_locked(shared_server: LabelStudioServer) -> None:
    with shared_server.client() as client:
        assert client.get("/api/version").json()["release"] == "1.23.2"


def test_it_ends_with_the_block_that_runs_it(tmp_path: Path) -> None:
    with label_studio(tmp_path / "data") as server:
        assert Path(f"/proc/{server.pid}").exists()

    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_port_that_was_taken_meanwhile_is_noticed(
    shared_server: LabelStudioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = int(shared_server.url.rpartition(":")[2])
    monkeypatch.setattr(servers, "_free_port", lambda: taken)

    with pytest.raises(AssertionError, match=r"was taken|does not listen"), label_studio(tmp_path / "data"):
        pass
