"""Replaces the characters that an interchange format cannot carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A lone surrogate has no UTF-8, and PostgreSQL, where several tools keep what they import, takes no NUL either.
_NOT_IN_JSON = re.compile("[\x00\ud800-\udfff]")
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2, "Char"
_NOT_IN_A_NAME = re.compile(_NOT_IN_XML.pattern + r"|\\")


def clean(text: str) -> str:
    """The text with U+FFFD for NUL and for lone surrogates; one for one, so that offsets into it stay true."""
    return _NOT_IN_JSON.sub("\ufffd", text)


def label_of(label: str) -> str:
    """The label with U+FFFD for whatever XML 1.0 cannot carry, the same in every format; "unnamed" if it is empty.

    Several tools refuse a label without a name.
    """
    return _NOT_IN_XML.sub("\ufffd", label) or "unnamed"


def labels_of(labels: Iterable[str]) -> list[str]:
    """The names that labels are written by, each once, in their order."""
    return list(dict.fromkeys(map(label_of, labels)))


def name_of(item_id: str) -> str:
    """The id as a name inside a file; what JSON or XML cannot carry is written as in a URL (``caf%E9.jpg``).

    So is a backslash, which tools take for a slash. A byte that is no UTF-8, which Python holds as a lone surrogate, is
    written as that byte. Names are not paths: what becomes a file goes through ``safe_path``.
    """
    return _NOT_IN_A_NAME.sub(_percent, item_id)


def to_bytes(name: str) -> bytes:
    """The bytes of a file's name as the system has them, which need not be UTF-8."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return name.encode("utf-8", "surrogatepass")


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in to_bytes(match[0]))
