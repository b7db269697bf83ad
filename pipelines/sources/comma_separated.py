"""Reads a manifest of comma-separated values (RFC 4180): quoted fields may hold commas, quotes and line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from models.errors import ConfigError
from pipelines.sources.encoding import Row, checked
from pipelines.sources.lines import LONGEST, TOO_LONG, lines


def names(file: BinaryIO) -> list[str]:
    """The names in the first line.

    Raises:
        ConfigError: it cannot be read, or some are equal.
    """
    return _names(_Feed(file))


def rows(file: BinaryIO) -> Iterator[Row]:
    """The rows. One that cannot be read ends with its line; what it had quoted further is read as rows of its own."""
    feed = _Feed(file)
    columns = _names(feed)
    while True:
        place = f"line {feed.number + 1}"
        try:
            cells = feed.cells()
        except StopIteration:
            return
        except (csv.Error, _UnreadableError) as err:
            hint = "quote fields that hold quotes or commas, and put long texts into files"
            yield Row(place=place, fault=f"the row cannot be read: {err}; {hint}")
            continue
        if feed.fault:
            yield Row(place=place, fault=feed.fault)
        elif any(cell and not cell.isspace() for cell in cells):
            yield row(place, columns, cells)


def row(place: str, columns: list[str], cells: list[str]) -> Row:
    """A row whose cells are as many as the columns; an empty cell is None."""
    if len(cells) != len(columns):
        return Row(place=place, fault=f"the row has {len(cells)} columns, wanted {len(columns)} as in the first line")
    return Row(place=place, record={name: cell or None for name, cell in zip(columns, cells, strict=True)})


class _UnreadableError(Exception):
    """A row that is too long to go on with."""


class _Feed:
    """Gives the lines of a file to a CSV reader, which takes as many as a row has.

    Attributes:
        number: how many lines have been taken.
        fault: what is wrong with the last row's bytes, though its fields have been told apart.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._lines = lines(file)
        self._reader = csv.reader(self, strict=True)
        self._length = 0
        self.number = 0
        self.fault = ""

    def cells(self) -> list[str]:
        """The fields of the next row.

        Raises:
            StopIteration, csv.Error, _UnreadableError.
        """
        self._length, self.fault = 0, ""
        return next(self._reader)

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self._length += LONGEST + 1 if line is None else len(line)
        if line is None or self._length > LONGEST:
            raise _UnreadableError(TOO_LONG)
        try:
            return line.decode()
        except UnicodeDecodeError as err:
            self.fault = f"the row is not UTF-8: got byte 0x{line[err.start]:02x}; save the manifest as UTF-8"
            return line.decode(errors="replace")


def _names(feed: _Feed) -> list[str]:
    try:
        found = feed.cells()
    except StopIteration:
        return []
    except (csv.Error, _UnreadableError) as err:
        raise ConfigError(f"the manifest's first line cannot be read: {err}; wanted the columns' names") from err
    if feed.fault:
        raise ConfigError(feed.fault)
    return checked([name.strip() for name in found])
