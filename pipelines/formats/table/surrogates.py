"""Carries strings that are no Unicode text, such as file names that are no UTF-8, through columns of UTF-8.

A lone surrogate is written as U+FFFD, which readers show for what they cannot show, and its four hexadecimal digits.
Where such digits follow a U+FFFD of the string's own, that one is written as U+FFFD and ``fffd``: no two strings are
written alike, and every other string is written as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

_MARK = "\ufffd"
_LONE = re.compile("[\ud800-\udfff]")
_TO_ESCAPE = re.compile(f"[\ud800-\udfff]|{_MARK}(?=d[89a-f][0-9a-f]{{2}}|fffd)")
_ESCAPED = re.compile(f"{_MARK}(d[89a-f][0-9a-f]{{2}}|fffd)")


def column_of(strings: Sequence[str | None]) -> pa.Array:
    """A column that ``strings_of`` gives the strings back from."""
    try:
        column = pa.array(strings, pa.string())
    except UnicodeEncodeError:
        return pa.array(_escaped(strings), pa.string())
    return pa.array(_escaped(strings), pa.string()) if _has_mark(column) else column


def column_of_texts(texts: Sequence[str | None]) -> pa.Array:
    """A column with U+FFFD for each lone surrogate: one for one, so that offsets into the texts stay true."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([text and _LONE.sub(_MARK, text) for text in texts], pa.string())


def strings_of(column: pa.Array) -> list[str | None]:
    """The strings that a column was made of."""
    strings = column.to_pylist()
    return [string and unescape(string) for string in strings] if _has_mark(column) else strings


def escape(string: str) -> str:
    return _TO_ESCAPE.sub(lambda found: f"{_MARK}{ord(found[0]):04x}", string)


def unescape(string: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), string)


def _escaped(strings: Sequence[str | None]) -> list[str | None]:
    return [string and escape(string) for string in strings]


def _has_mark(column: pa.Array) -> bool:
    """Whether anything may be escaped in it: hardly ever, so that strings need no look one by one."""
    return pc.call_function("match_substring", [column], pc.MatchSubstringOptions(_MARK)).true_count > 0
