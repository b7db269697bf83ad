"""Tests that values are made fit for the database without moving an offset."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.store.jsonb import json_text, storable, to_json

_any_text = st.text(st.characters(exclude_categories=[]))


@given(_any_text)
def test_text_keeps_its_offsets_and_can_be_stored(text: str) -> None:
    stored = storable(text)

    assert len(stored) == len(text)
    assert "\0" not in stored
    assert stored.encode().decode() == stored
    assert all(before == after for before, after in zip(text, stored, strict=True) if after != "\ufffd")


@given(st.recursive(_any_text | st.floats() | st.integers() | st.booleans() | st.none(), st.lists))
def test_what_is_not_refused_is_json(value: object) -> None:
    try:
        stored = to_json(value)
    except ValueError:
        assert "nan" in repr(value) or "inf" in repr(value)
    else:
        json.dumps(stored, allow_nan=False).encode()


@given(
    st.recursive(
        _any_text | st.just("\\u0000") | st.floats() | st.integers() | st.datetimes() | st.booleans() | st.none(),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(_any_text, inner),
    )
)
def test_json_is_written_as_it_is_stored(value: object) -> None:
    try:
        stored = to_json(value)
    except ValueError:
        with pytest.raises(ValueError, match="finite"):
            json_text(value)
    else:
        text = json_text(value)
        assert json.loads(text) == stored
        text.encode()


def test_a_value_without_a_json_form_is_named() -> None:
    with pytest.raises(TypeError, match="got bytes"):
        to_json({"data": b"raw"})
    with pytest.raises(TypeError, match="got bytes"):
        json_text({"data": b"raw"})
