"""Reads a manifest of tab-separated values: one row a line, and neither tabs nor line ends within a field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from models.errors import ConfigError
from pipelines.sources.comma_separated import row
from pipelines.sources.encoding import Row, checked
from pipelines.sources.lines import TOO_LONG, lines


def names(file: BinaryIO) -> list[str]:
    """The names in the first line.

    Raises:
        ConfigError: it cannot be read, or some are equal.
    """
    return _names(lines(file))


def rows(file: BinaryIO) -> Iterator[Row]:
    """The rows. A field that is quoted as a whole, its inner quotes doubled, loses the quotes: spreadsheets write them.

    Other quotes stay, as corpora of speech have them in their sentences.
    """
    left = lines(file)
    columns = _names(left)
    for number, line in enumerate(left, start=2):
        place = f"line {number}"
        if line is None:
            yield Row(place=place, fault=TOO_LONG)
        elif not line.isspace():
            yield _row(place, columns, line)


def _row(place: str, columns: list[str], line: bytes) -> Row:
    try:
        return row(place, columns, _cells(line))
    except UnicodeDecodeError as err:
        got = f"got byte 0x{err.object[err.start]:02x}"
        return Row(place=place, fault=f"the line is not UTF-8: {got}; save the manifest as UTF-8")


def _cells(line: bytes) -> list[str]:
    return [_unquoted(cell) for cell in line.decode().rstrip("\r\n").split("\t")]


def _unquoted(cell: str) -> str:
    if len(cell) < 2 or not (cell.startswith('"') and cell.endswith('"')):
        return cell
    inner = cell[1:-1].replace('""', "\0")
    return cell if '"' in inner else inner.replace("\0", '"')


def _names(left: Iterator[bytes | None]) -> list[str]:
    line = next(left, b"")
    try:
        if line is not None:
            return checked([name.strip() for name in _cells(line)])
    except UnicodeDecodeError as err:
        raise ConfigError("the manifest's first line is not UTF-8; save the manifest as UTF-8") from err
    raise ConfigError("the manifest's first line is too long; wanted the columns' names")
