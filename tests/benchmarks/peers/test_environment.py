"""Checks how a peer's environment is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.environment import PeerMissing, python_of


def test_a_missing_peer_says_which_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(PeerMissing, match=r"'litserve' is not installed in .*; run 'make bench-peers'"):
        python_of("litserve", root=tmp_path)


def test_an_environment_whose_build_was_cut_off_is_missing(tmp_path: Path) -> None:
    (tmp_path / "litserve" / "bin").mkdir(parents=True)
    (tmp_path / "litserve" / "bin" / "python").touch()

    with pytest.raises(PeerMissing):
        python_of("litserve", root=tmp_path)


def test_a_complete_environment_has_an_interpreter(tmp_path: Path) -> None:
    (tmp_path / "litserve").mkdir()
    (tmp_path / "litserve" / ".complete").touch()

    assert python_of("litserve", root=tmp_path) == tmp_path / "litserve" / "bin" / "python"
