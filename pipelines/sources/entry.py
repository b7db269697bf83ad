"""Checks the values that a drop's entries are made of, and writes others as meta holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


class EntryError(ValueError):
    """What is wrong with an entry, in a sentence."""


def checked_id(name: str, value: Any) -> str | None:
    """An id as it is given under a name; None where it is not.

    Raises:
        EntryError: it is neither a string nor a whole number, or holds a NUL.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise EntryError(f"'{name}' holds a {type(value).__name__}, wanted a string or a whole number")
    if "\0" in str(value):
        raise EntryError(f"'{name}' holds a NUL character; leave it out")
    return str(value)


def checked_uri(name: str, value: Any) -> str:
    """A URI as it is given under a name.

    Raises:
        EntryError: it is no string, or holds a NUL.
    """
    if "\0" in checked_string(name, value):
        raise EntryError(f"'{name[:60]}' holds a NUL character; no file has it in its name")
    return value


def checked_string(name: str, value: Any) -> str:
    """A string as it is given under a name.

    Raises:
        EntryError: it is something else.
    """
    if not isinstance(value, str):
        raise EntryError(f"'{name[:60]}' holds a {type(value).__name__}, wanted a string")
    return value


def as_text(value: Any) -> str:
    """A value as meta holds it: numbers and truths as JSON writes them, lists and objects as JSON."""
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case dict() | list():
            return orjson.dumps(value).decode()
        case _:
            return str(value)


def as_object(element: bytes | None) -> dict[str, Any]:
    """What an element of a JSON array says.

    Raises:
        EntryError: it is too long, no JSON, or no object.
    """
    if element is None:
        raise EntryError("the entry is too long; leave out what is annotated")
    try:
        record = orjson.loads(element)
    except orjson.JSONDecodeError as err:
        raise EntryError(f"the entry is no JSON in UTF-8 ({err.msg})") from err
    if not isinstance(record, dict):
        raise EntryError(f"the entry is a {type(record).__name__}, wanted an object: {{…}}")
    return record


def plain(record: Mapping[str, Any], *, but: str = "") -> dict[str, str]:
    """The plain values of an object as meta."""
    return {key: as_text(value) for key, value in record.items() if key != but and isinstance(value, str | int | float)}
