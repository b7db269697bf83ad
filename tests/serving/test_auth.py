"""Checks that only a known key opens the door."""

from __future__ import annotations

import base64
import hashlib

import pytest

from models.errors import ConfigError, PrelabelError
from serving.auth import KeyRing, new_key

# Fixed, so that the tests have the same names in every process.
KEY = "pl_0a1b2c3d_" + "s3cret-S3CRET_s3cret-S3CRET_s3cret-S3CRET_x"
LINE = "0a1b2c3d:" + hashlib.sha256(KEY.rpartition("0a1b2c3d_")[2].encode()).hexdigest()
OTHER_KEY = KEY.replace("s3cret", "public")


def test_a_new_key_is_admitted_by_its_line_and_no_other_key_is() -> None:
    (key, line), (other, _) = new_key(), new_key()

    KeyRing([line]).check(authorization=None, x_api_key=key)
    with pytest.raises(PrelabelError):
        KeyRing([line]).check(authorization=None, x_api_key=other)


def test_an_empty_ring_admits_everybody() -> None:
    KeyRing([]).check(authorization=None, x_api_key=None)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}", "x_api_key": None},
        {"authorization": f"bearer {KEY}", "x_api_key": None},
        {"authorization": None, "x_api_key": KEY},
        {"authorization": "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode(), "x_api_key": None},
    ],
)
def test_a_known_key_is_admitted(headers: dict[str, str | None]) -> None:
    KeyRing([LINE]).check(**headers)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {OTHER_KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Token {KEY}",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        "Basic " + base64.b64encode(KEY.encode()).decode(),
        "Bearer " + "x" * 1_000_000,
    ],
)
def test_anything_else_is_not(authorization: str | None) -> None:
    with pytest.raises(PrelabelError) as caught:
        KeyRing([LINE]).check(authorization=authorization, x_api_key=None)

    assert caught.value.code == "unauthorized"
    assert KEY not in caught.value.message


def test_a_line_that_is_no_key_is_refused_without_echoing_it() -> None:
    with pytest.raises(ConfigError) as caught:
        KeyRing([KEY])

    assert KEY not in str(caught.value)
