"""Checks that what strict JSON has no place for costs itself alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import PrelabelError
from serving.body import parse
from serving.integrations.label_studio.body import forgiving

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(value=_VALUES)
def test_whatever_python_writes_becomes_strict_json(value: Any) -> None:
    read = forgiving(json.dumps({"tasks": [value, 1]}).encode(), max_depth=32)

    assert parse(json.dumps(read).encode(), max_depth=32) == read
    assert len(read["tasks"]) == 2


@given(value=_VALUES)
def test_what_is_strict_json_is_read_as_it_is(value: Any) -> None:
    body = json.dumps(value).encode()
    try:
        strict = parse(body, max_depth=32)
    except PrelabelError:
        return

    assert forgiving(body, max_depth=32) == strict


def test_a_lone_surrogate_counts_as_the_character_that_stands_for_it() -> None:
    read = forgiving(b'{"tasks": [{"data": {"\\udc00k": "a\\ud800b \\ud83d\\ude00"}}]}', max_depth=32)

    assert read == {"tasks": [{"data": {"\ufffdk": "a\ufffdb \U0001f600"}}]}


def test_what_is_nested_too_deep_is_left_out() -> None:
    deep = "[" * 50 + "]" * 50

    read = forgiving(f'{{"tasks": [{{"id": 1, "x": {deep}}}, {{"id": 2}}]}}'.encode(), max_depth=8)

    assert [task["id"] for task in read["tasks"]] == [1, 2]


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": 1} x', b"\xff", b"[" * 100_000, b"{'a': 1}"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(PrelabelError) as caught:
        forgiving(body, max_depth=32)

    assert caught.value.code == "invalid_json"
