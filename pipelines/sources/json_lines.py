"""Reads a manifest with a JSON object in each line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from pipelines.sources.encoding import Row
from pipelines.sources.lines import TOO_LONG, lines


def names(file: BinaryIO) -> list[str] | None:
    return None


def rows(file: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(lines(file), start=1):
        place = f"line {number}"
        if line is None:
            yield Row(place=place, fault=TOO_LONG)
        elif not line.isspace():
            yield _row(place, line)


def _row(place: str, line: bytes) -> Row:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as err:
        return Row(place=place, fault=f"the line is no JSON in UTF-8 ({err.msg} at column {err.colno})")
    if not isinstance(record, dict):
        return Row(place=place, fault=f"the line holds a {type(record).__name__}, wanted an object: {{…}}")
    return Row(place=place, record=record)
