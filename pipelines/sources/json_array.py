"""Reads the elements of a JSON array one by one, however long the array is."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

import orjson

from models.errors import ConfigError

LONGEST = 64 * 2**20  # bytes of an element
_BLANK = re.compile(rb"[ \t\r\n]*")
_OPENS_CLOSES_OR_QUOTES = re.compile(rb'["{}\[\]]')
_QUOTES_OR_ESCAPES = re.compile(rb'["\\]')
_ENDS_PLAIN = re.compile(rb"[,\]}:\s]")


class DamagedJsonError(Exception):
    """From here on, nobody can say where an element begins; ``offset`` is where that is."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(why)
        self.offset = offset


def elements(file: BinaryIO, key: str | None = None, *, chunk_bytes: int = 2**20) -> Iterator[bytes | None]:
    """The elements of the array that the file holds, or of the one under a key of the object that it holds, as they
    are written, which need not be valid; None for one that is too long. What follows the array is not read, and
    ``chunk_bytes`` of the file are in memory at a time, besides the element.

    Raises:
        ConfigError: the file holds no such array.
        DamagedJsonError: an element does not end, or what follows it belongs to no array.
    """
    reader = _Reader(file, chunk_bytes)
    if key is not None:
        _find(reader, key)
    if reader.next() != b"[":
        raise ConfigError(f"got no list {'in the file' if key is None else f'under {key!r}'}, wanted [ … ]")
    reader.skip()
    if reader.next() == b"]":
        return
    while True:
        yield reader.value(is_kept=True)
        match reader.next():
            case b",":
                reader.skip()
            case b"]":
                return
            case got:
                raise reader.damage(f"got {got.decode('latin-1')!r} behind an element, wanted , or ]")


def opening(file: BinaryIO) -> bytes:
    """The first sign of a file, ``[`` or ``{`` if it is what it should be."""
    return _Reader(file, 2**10).next()


def _find(reader: _Reader, key: str) -> None:
    """Go to the value under a key of the object that comes next."""
    missing = ConfigError(f"got no object with {key!r}; wanted one at the file's outermost level")
    if reader.next() != b"{":
        raise missing
    try:
        reader.skip()
        while reader.next() == b'"':
            found = reader.value(is_kept=True)
            if reader.next() != b":":
                raise missing
            reader.skip()
            if found is not None and orjson.loads(found) == key:
                return
            reader.value(is_kept=False)
            if reader.next() == b",":
                reader.skip()
    except (DamagedJsonError, orjson.JSONDecodeError) as err:
        raise missing from err
    raise missing


class _Reader:
    """Goes through JSON by its brackets and quotes, a part of the file in memory at a time."""

    def __init__(self, file: BinaryIO, chunk_bytes: int) -> None:
        self._file = file
        self._chunk_bytes = chunk_bytes
        self._chunk = file.read(max(chunk_bytes, len(codecs.BOM_UTF8))).removeprefix(codecs.BOM_UTF8)
        self._at = 0
        self._before = file.tell() - len(self._chunk)  # bytes of the file that stand before the chunk
        self._parts: list[bytes] | None = None  # of the value that is kept, from the chunks before
        self._from = 0  # where it begins in this chunk

    def damage(self, why: str) -> DamagedJsonError:
        return DamagedJsonError(self._before + self._at, why)

    def next(self) -> bytes:
        """The sign that comes next, blanks left out; nothing at the end of the file. It is still to come."""
        while True:
            blank = _BLANK.match(self._chunk, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._chunk) or not self._fill():
                return self._chunk[self._at : self._at + 1]

    def skip(self) -> None:
        self._at += 1

    def value(self, *, is_kept: bool) -> bytes | None:
        """Go over the value that comes next; it as it is written, or None if it is not kept or too long."""
        first = self.next()
        self._parts, self._from = ([] if is_kept else None), self._at
        match first:
            case b"{" | b"[":
                self._nested()
            case b'"':
                self.skip()
                self._string()
            case b"":
                raise self.damage("the file ends, wanted a value")
            case _:
                self._plain()
        self._keep()
        parts, self._parts = self._parts, None
        return None if parts is None else b"".join(parts)

    def _nested(self) -> None:
        depth = 0
        while True:
            sign = self._to(_OPENS_CLOSES_OR_QUOTES)
            self.skip()
            if sign == b'"':
                self._string()
                continue
            depth += 1 if sign in b"{[" else -1
            if depth == 0:
                return

    def _string(self) -> None:
        """Go behind the end of a string whose beginning has been read."""
        while self._to(_QUOTES_OR_ESCAPES) == b"\\":
            self.skip()
            if self._at == len(self._chunk) and not self._fill():
                raise self.damage("the file ends within a string")
            self.skip()
        self.skip()

    def _plain(self) -> None:
        while True:
            end = _ENDS_PLAIN.search(self._chunk, self._at)
            self._at = end.start() if end else len(self._chunk)
            if end or not self._fill():
                return

    def _to(self, wanted: re.Pattern[bytes]) -> bytes:
        """Go to the next of some signs."""
        while True:
            found = wanted.search(self._chunk, self._at)
            self._at = found.start() if found else len(self._chunk)
            if found:
                return found[0]
            if not self._fill():
                raise self.damage("the file ends within a value; was it cut?")

    def _keep(self) -> None:
        """Put aside what of this chunk belongs to the value, unless that gets too long."""
        if self._parts is not None:
            self._parts.append(self._chunk[self._from : self._at])
            if sum(map(len, self._parts)) > LONGEST:
                self._parts = None

    def _fill(self) -> bool:
        """Read the next part of the file; False at its end. All of this one has been gone over."""
        following = self._file.read(self._chunk_bytes)
        if following:
            self._keep()
            self._before += len(self._chunk)
            self._chunk, self._at, self._from = following, 0, 0
        return bool(following)
