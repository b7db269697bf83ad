"""Checks that the elements of JSON arrays are told apart, wherever a part of the file ends."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.errors import ConfigError
from pipelines.sources.json_array import LONGEST, DamagedJsonError, elements

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def found(text: str | bytes, key: str | None = None, **options: Any) -> list[Any]:
    data = text.encode() if isinstance(text, str) else text
    return [None if element is None else json.loads(element) for element in elements(io.BytesIO(data), key, **options)]


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(json_values, max_size=5),
    indent=st.none() | st.integers(0, 2),
    is_ascii=st.booleans(),
    chunk_bytes=st.integers(1, 40),
)
@example(values=['\\"', "]", '[{"\\', {"}": "\\\\"}], indent=None, is_ascii=True, chunk_bytes=1)
def test_elements_are_those_that_a_whole_parser_finds(
    values: list[Any], indent: int | None, is_ascii: bool, chunk_bytes: int
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=is_ascii)

    assert found(text, chunk_bytes=chunk_bytes) == values
    assert found("\ufeff \n" + text + "\n", chunk_bytes=chunk_bytes) == values


@settings(max_examples=200, deadline=None)
@given(
    before=st.dictionaries(st.text().filter(lambda key: key != "images"), json_values, max_size=4),
    values=st.lists(json_values, max_size=4),
    after=st.dictionaries(st.text(), json_values, max_size=2),
    chunk_bytes=st.integers(1, 40),
)
def test_the_array_under_a_key_is_found_between_others(
    before: dict[str, Any], values: list[Any], after: dict[str, Any], chunk_bytes: int
) -> None:
    rest = {key: value for key, value in after.items() if key != "images" and key not in before}
    text = json.dumps({**before, "images": values, **rest})

    assert found(text, "images", chunk_bytes=chunk_bytes) == values


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60) | st.text(alphabet='[]{},:"\\ a1', max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_what_is_documented(data: bytes) -> None:
    for content, key in ((b"[" + data, None), (b'{"images":[' + data, "images"), (data, None), (data, "images")):
        try:
            for element in elements(io.BytesIO(content), key, chunk_bytes=7):
                assert element is not None
        except (ConfigError, DamagedJsonError):
            pass


@pytest.mark.parametrize("text", ["", "5", "null", '"a"', "{}", '{"a": [1]}'])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="got no list"):
        found(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": [1]}', '{"images": 5}', '{"images"', '{"a": [1', '{"a" [1]}'])
def test_an_object_without_the_array_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="got no"):
        found(text, "images")


@pytest.mark.parametrize(
    ("text", "whole", "offset"),
    [("[1, 2", 2, 6), ('[1, "abc', 1, 8), ("[1, {", 1, 5), ("[1 2]", 1, 3), ("[1}", 1, 2), ("[1,", 1, 3)],
)
def test_damage_is_said_with_its_place_behind_the_elements_before_it(text: str, whole: int, offset: int) -> None:
    listed = elements(io.BytesIO(text.encode()), chunk_bytes=2)
    for _ in range(whole):
        next(listed)

    with pytest.raises(DamagedJsonError) as caught:
        next(listed)

    assert caught.value.offset <= offset


def test_an_element_that_is_too_long_costs_itself_only() -> None:
    text = b'[1, "' + b"x" * LONGEST + b'", {"a": "' + b"y" * LONGEST + b'"}, 2]'

    assert found(text) == [1, None, None, 2]


def test_a_long_array_takes_no_more_memory_than_a_short_one() -> None:
    file = io.BytesIO(b"[" + b",".join(b'{"id": %d, "data": {"text": "Alice"}}' % n for n in range(100_000)) + b"]")

    tracemalloc.start()
    try:
        count = sum(1 for _ in elements(file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 100_000
    assert peak < 4 * 2**20
