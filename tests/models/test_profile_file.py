"""Checks that what was measured is found again, and is told from what was measured elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models import profile_file
from models.errors import ConfigError
from tests.models.profiles import a_profile

HERE = {"device": "Some GPU, 80 GiB", "weights_digest": "a" * 64, "config_digest": "b" * 64}


def test_what_is_written_is_read_again_and_leaves_other_models_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.profile"
    on_cpu = replace(a_profile(), num_gpus=None)

    profile_file.write({"one@1": a_profile(), "two@1": a_profile()}, file)
    profile_file.write({"two@1": on_cpu}, file)

    assert profile_file.read(file) == {"one@1": a_profile(), "two@1": on_cpu}


def test_without_a_file_nothing_was_measured(tmp_path: Path) -> None:
    assert profile_file.read(tmp_path / "mine.profile") == {}


@pytest.mark.parametrize("content", ["", "[]", '{"one@1": {}}', '{"one@1": 3}'])
def test_a_file_with_something_else_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mine.profile"
    file.write_text(content)

    with pytest.raises(ConfigError, match=r"mine\.profile.*models profile --write"):
        profile_file.read(file)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        profile_file.write({"one@1": a_profile()}, tmp_path / "nowhere" / "mine.profile")


def test_a_profile_of_this_device_and_these_bytes_holds() -> None:
    assert profile_file.staleness(a_profile(), **HERE) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"device": "Another GPU, 24 GiB"}, "measured on Some GPU, 80 GiB, and this is Another GPU, 24 GiB"),
        ({"weights_digest": "c" * 64}, "with weights aaaaaaaaaaaa, and these are cccccccccccc"),
        ({"config_digest": "c" * 64}, "card has changed"),
    ],
)
def test_a_profile_of_something_else_does_not_hold(changed: dict[str, str], said: str) -> None:
    assert said in (profile_file.staleness(a_profile(), **HERE | changed) or "")
