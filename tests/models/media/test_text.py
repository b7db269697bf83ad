"""Checks that texts keep every offset and that broken ones are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ItemError
from models.media import MediaLimits, decode
from models.types import Content, TextPayload


def read(data: bytes, **limits: int) -> str:
    payload = decode(Content(media="text", data=data), MediaLimits(**limits))
    assert isinstance(payload, TextPayload)
    return payload.text


def refusal(data: bytes, **limits: int) -> ItemError:
    with pytest.raises(ItemError) as caught:
        read(data, **limits)
    return caught.value


@given(st.text())
def test_a_text_comes_out_as_given_except_for_nul(text: str) -> None:
    assert read(text.encode()) == text.replace("\0", "\ufffd")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t ",
        "\n" * 1000,
        "\ufeffAlice",
        "😀 Alice",
        "👩‍👩‍👧 e\u0301 é",
        "\u202eRTL\u202c \u00ad\u200b",
        "a\r\nb\nc",
        "&amp;<b>",
    ],
)
def test_no_code_point_is_moved_or_normalised(text: str) -> None:
    assert read(text.encode()) == text


def test_nul_is_replaced_one_for_one_so_that_offsets_stay() -> None:
    text = read(b"a\0Bob")

    assert text == "a\ufffdBob"
    assert text.index("Bob") == 2


@pytest.mark.parametrize(
    "data",
    [b"caf\xe9", "Grüße".encode("utf-16"), b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"abc\xf0\x9f\x98"],
)
def test_bytes_that_are_not_utf_8_are_refused(data: bytes) -> None:
    error = refusal(data)

    assert error.code == "invalid_text"
    assert "convert it to UTF-8" in error.message


def test_a_text_over_the_cap_is_refused_and_one_at_the_cap_is_not() -> None:
    assert read("😀".encode() * 10, max_text_chars=10) == "😀" * 10
    assert refusal(b"a" * 11, max_text_chars=10).code == "too_large"
    assert refusal(b"\xff" * 41, max_text_chars=10).code == "too_large"
