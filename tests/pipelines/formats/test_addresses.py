"""Tests what is taken for a file on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from pipelines.formats.addresses import local_path
from tests.pipelines.formats.entries import texts


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/data/a b.png", "/data/a b.png"),
        ("images/a:1.png", "images/a:1.png"),
        ("file:///data/caf%E9%20%23.png", "/data/caf\udce9 #.png"),
        ("FILE://localhost/data/a.png", "/data/a.png"),
        ("file:/data/a.png", "/data/a.png"),
        ("https://example.com/a.png", None),
        ("s3://bucket/a.png", None),
        ("data:image/png;base64,AAAA", None),
    ],
)
def test_a_path_is_found_in_what_names_one(uri: str, path: str | None) -> None:
    assert local_path(uri) == path


@given(texts)
def test_a_path_as_uri_is_that_path(name: str) -> None:
    path = Path("/data") / name.replace("\0", "").replace("\ud800", "")

    assert local_path(path.as_uri()) == str(path)


@given(texts)
def test_no_address_is_too_odd(text: str) -> None:
    assert local_path(f"file:{text}") is not None
