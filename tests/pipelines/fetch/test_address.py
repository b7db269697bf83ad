"""Checks which network addresses count as public."""

from __future__ import annotations

import pytest

from pipelines.fetch.address import is_disguised, is_public


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001:800::200e"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "100.127.255.255", "198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.0.0.9"),
        *("192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1"),
        *("64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:808:808::", "2001:0:4136:e378::1", "fe80::1"),
        *("fe80::1%lo", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "2001:db8::1", "3fff::1"),
        *("100::1", "5f00::1", "4000::1"),
    ],
)
def test_every_other_address_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "127.0.0.0x1", "1.2.3.4.5", "127.1."]
)
def test_an_address_in_disguise_is_found_out(host: str) -> None:
    assert is_disguised(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "example.com", "1.example", "::1", "0x7f.example.com"])
def test_a_name_or_a_plain_address_is_no_disguise(host: str) -> None:
    assert not is_disguised(host)
