"""Reads lines of bounded length."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from models.errors import ConfigError

LONGEST = 8 * 2**20  # bytes of a line: twice what the longest text takes, or a picture of a few megapixels in base64
TOO_LONG = f"the line has more than {LONGEST} bytes; put what is in it into a file of its own, and name that"


def lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Each line of UTF-8 text, with its end and without a byte order mark; None for one that is too long.

    Raises:
        ConfigError: it is UTF-16.
    """
    line = _line(file)
    if line is not None:
        if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ConfigError("the manifest is UTF-16, wanted UTF-8; save it as UTF-8")
        line = line.removeprefix(codecs.BOM_UTF8)
    while line != b"":
        yield line
        line = _line(file)


def _line(file: BinaryIO) -> bytes | None:
    line = file.readline(LONGEST + 1)
    if len(line) <= LONGEST:
        return line
    while line and not line.endswith(b"\n"):
        line = file.readline(LONGEST)
    return None
