"""Tells public network addresses from all others."""

from __future__ import annotations

import ipaddress
import re

_GLOBAL_UNICAST_V6 = ipaddress.ip_network("2000::/3")
# Python calls these global. All but the last three reach an IPv4 address through a translator or a tunnel.
_REFUSED = tuple(
    map(
        ipaddress.ip_network, ("2002::/16", "2001::/23", "192.88.99.0/24", "192.0.0.0/24", "2001:db8::/32", "3fff::/20")
    )
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def is_public(address: str) -> bool:
    """Whether the address is one of the public internet: no private, loopback, link-local, multicast, reserved,
    documentation, carrier-grade NAT, NAT64, 6to4, Teredo or IPv4-mapped address."""
    parsed = ipaddress.ip_address(address)
    if not parsed.is_global or parsed.is_multicast or parsed.is_reserved:
        return False
    if parsed.version == 6 and parsed not in _GLOBAL_UNICAST_V6:
        return False
    return not any(parsed in network for network in _REFUSED if network.version == parsed.version)


def is_literal(host: str) -> bool:
    """Whether the host is an IP address in its usual form."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_disguised(host: str) -> bool:
    """Whether a resolver would take the host for an IPv4 address although it is written unusually: 127.1, 0x7f.1."""
    return not is_literal(host) and _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None
