"""Makes values fit for PostgreSQL's text and jsonb, which take neither NUL, nor lone surrogates, nor NaN."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime

Json = str | float | int | bool | None | list["Json"] | dict[str, "Json"]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_IN_JSON = re.compile(r"\\u0000|[\ud800-\udfff]")


def storable(text: str) -> str:
    """Put U+FFFD where the database cannot hold a code point. One for one, so that offsets into the text stay true."""
    return _UNSTORABLE.sub("\ufffd", text)


def to_json(value: object) -> Json:
    """Turn a dumped value into what jsonb holds.

    Raises:
        ValueError: there is a NaN or an infinity in it.
        TypeError: there is something in it that JSON has no word for.
    """
    match value:
        case str():
            return storable(value)
        case bool() | int() | None:
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"wanted finite numbers; got {value}")
            return float(value)
        case datetime():
            return value.isoformat()
        case dict():
            return {storable(str(key)): to_json(entry) for key, entry in value.items()}
        case list() | tuple():
            return [to_json(entry) for entry in value]
        case _:
            raise TypeError(f"wanted text, numbers, lists and mappings; got {type(value).__name__}")


def json_text(value: object) -> str:
    """The JSON of ``to_json``, with the same errors.

    Most values need no change, and writing them in one go takes a third of the time. The standard library's writer sees
    every NaN; orjson would write it as null.
    """
    try:
        text = _WRITER.encode(value)
    except (TypeError, ValueError):
        return _WRITER.encode(to_json(value))
    return _WRITER.encode(to_json(value)) if _UNSTORABLE_IN_JSON.search(text) else text


_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=to_json)
