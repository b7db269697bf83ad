"""Checks that no spelling of a URI reaches the inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ItemError
from pipelines.fetch.address import is_literal, is_public
from pipelines.fetch.policy import FetchPolicy
from pipelines.fetch.url import check_host, read_url, shown
from tests.pipelines.fetch.site import PUBLIC, Resolution, refusal, the_internet

NEVER_OPENED = [
    *("http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/"),
    *("http://0/", "http://0.0.0.0/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/"),
    *("http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fe80::1%25lo]/", "http://[fe80::1%lo]/"),
    *("http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://100.64.0.1/", "http://198.18.0.1/"),
    *("http://192.0.2.1/", "http://224.0.0.1/", "http://10.0.0.1/", "http://192.168.0.1/", "http://172.16.0.1/"),
    *("http://localhost/", "http://LOCALHOST/", "http://localhost./", "http://a.localhost/", "http://x.internal/"),
    *("http://user@127.0.0.1/", "http://example.com@127.0.0.1/", "http://u:p@photos.example/", "http://@127.0.0.1/"),
    *("http://127.0.0.1\\@example.com/", "http://photos.example\\@127.0.0.1/", "http://127.0.0.1#@example.com"),
    *("http://127.0.0.1?@example.com", "http://127.0.0.1:80@example.com/", "http://127.0.0.1;@example.com/"),
    *(
        "http://①②⑦.⓪.⓪.①/",
        "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
        "http://127。0。0。1/",
        "http://%31%32%37.0.0.1/",
    ),
    *("http://photos%2eexample/", "http://xn--\udcff/", "http://photos.example:22/", "http://photos.example:25/"),
    *("http://photos.example:6379/", "http://photos.example:99999/", "http://photos.example:-1/"),
    *("http://photos.example:80:80/", "http:///a", "http:a", "http:/photos.example/a", "http://", "https://?x"),
    *("gopher://photos.example/", "ftp://photos.example/", "dict://photos.example/", "jar:http://photos.example!/"),
    *("blob:http://photos.example/x", "javascript:alert(1)", "ws://photos.example/", "s3::http://photos.example/"),
    *("simplecache::http://photos.example/a", "http://photos.example/a\tb", "http://photos.example/a\nb"),
    *("http://photos.example/a b", "ht\ttp://photos.example/", "http://photos.example/" + "a" * 65_536),
    *("file:///etc/passwd", "file://photos.example/etc/passwd", "FILE:/etc/passwd", "/etc/passwd", "../../etc/passwd"),
    *("//127.0.0.1/", " http://127.0.0.1/", "/data/upload/../../etc/passwd"),
    *("/data/local-files/?d=../../etc/passwd", "s3://other/key", "s3://drops/../other/key", "gs://drops/key"),
    *("s3://drops/k?versionId=1", "az://c/../d", "", "http://[::1", "http://[127.0.0.1]/"),
]


@pytest.mark.parametrize("uri", NEVER_OPENED)
async def test_a_uri_meant_to_reach_the_inside_opens_no_socket(uri: str) -> None:
    resolve = Resolution(photos_example=[[PUBLIC]], example_com=[[PUBLIC]], localhost=[["127.0.0.1"]])

    async with the_internet({}, resolve) as (network, fetcher):
        error = await refusal(fetcher, uri)

        assert error.code == "blocked_url"
        assert "passwd" not in error.message
        assert not network.dialled
        assert not resolve.asked


@pytest.mark.parametrize(
    "uri", ["http://xn--a/", "http://photos.example./", "http://bücher.example/ä?ö", "https://8.8.8.8:8443/a"]
)
def test_an_unusual_but_public_url_is_parsed_and_shown(uri: str) -> None:
    url = read_url(uri)

    check_host(url, FetchPolicy())
    assert shown(url).isascii()


def test_what_is_shown_of_a_url_holds_no_secret() -> None:
    url = read_url("https://photos.example/a.png?sig=s3cr3t#s3cr3t")

    assert shown(url) == "https://photos.example/a.png"


@given(st.text(max_size=60) | st.from_regex(r"https?://[\[\]0-9a-fx.:%@\\/①。-]{1,30}/?", fullmatch=True))
def test_any_text_is_a_checked_url_or_blocked(text: str) -> None:
    try:
        url = read_url(text)
        check_host(url, FetchPolicy())
    except ItemError as err:
        assert err.code == "blocked_url"
    else:
        host = url.raw_host.decode()
        assert is_public(host) if is_literal(host) else not host.rstrip(".").rpartition(".")[2].isdecimal()
