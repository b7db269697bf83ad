"""Checks how the parts are named, kept, and refused without a Label Studio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.label_studio import parts, platform
from benchmarks.label_studio.platform import LabelStudioMissing


def test_all_parts_are_measured_unless_some_are_named() -> None:
    assert parts.chosen(()) == ["flood", "latency"]
    assert parts.chosen(["latency"]) == ["latency"]


def test_a_part_that_was_not_measured_keeps_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "label_studio.json"
    parts.save(file, {"latency": {"n": 1}})

    parts.save(file, {"flood": {"n": 2}})

    assert list(json.loads(file.read_text()).items()) == [("flood", {"n": 2}), ("latency", {"n": 1})]


def test_without_label_studio_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(LabelStudioMissing, match=r"run 'make \.venv-label-studio/\.complete'"):
        platform.check(tmp_path)
