"""Refuses addresses and header values that no call could be made with."""

from __future__ import annotations

import httpx

from models.errors import ConfigError

_LAST_PORT = 65_535


def checked_url(url: str) -> str:
    """The address of a server, without slashes at its end.

    Raises:
        ConfigError: it is none.
    """
    try:
        read = httpx.URL(url)
    except httpx.InvalidURL as err:
        raise _no_address(url, str(err)) from err
    if read.scheme not in ("http", "https") or not read.host:
        raise _no_address(url, "it has no scheme or no host")
    if read.port is not None and read.port > _LAST_PORT:
        raise _no_address(url, f"the last port is {_LAST_PORT}")
    return url.rstrip("/")


def checked_value(value: str, *, name: str) -> str:
    """What is to stand in a header: a key, a token, a name.

    Raises:
        ConfigError: it has other signs than the visible ones of ASCII. The message does not show it.
    """
    wrong = sorted({sign for sign in value if not "!" <= sign <= "~"})
    if wrong:
        signs = ", ".join(f"U+{ord(sign):04X}" for sign in wrong[:3])
        raise ConfigError(f"the {name} has signs that no header can hold ({signs}); copy it again, without spaces")
    return value


def _no_address(url: str, why: str) -> ConfigError:
    return ConfigError(f"{url!r} is no address of a server: {why}; give one like http://127.0.0.1:8000")
