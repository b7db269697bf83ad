"""Tests that JSON written piece by piece is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.formats.streams import json_array, json_lines

VALUES = [{"a": [1, None, "é😀\n\u2028"]}, "x", 2.5]


@pytest.mark.parametrize("values", [[], VALUES[:1], VALUES])
def test_an_array_holds_what_was_added(tmp_path: Path, values: list[object]) -> None:
    with json_array(tmp_path / "a.json") as add:
        for value in values:
            add(value)

    assert json.loads((tmp_path / "a.json").read_bytes()) == values


def test_an_array_in_an_object_follows_what_stands_before_it(tmp_path: Path) -> None:
    with json_array(tmp_path / "a.json", key="items", head={"version": "1", "labels": ["é"]}) as add:
        add(1)

    assert json.loads((tmp_path / "a.json").read_bytes()) == {"version": "1", "labels": ["é"], "items": [1]}


def test_every_value_is_a_line(tmp_path: Path) -> None:
    with json_lines(tmp_path / "a.jsonl") as add:
        for value in VALUES:
            add(value)

    lines = (tmp_path / "a.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == VALUES
    assert lines[-1] == b""
