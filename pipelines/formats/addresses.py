"""Tells files on this machine from what lies elsewhere."""

from __future__ import annotations

import re
from urllib.parse import unquote

_FILE = re.compile(r"file:(//[^/]*)?", re.IGNORECASE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*://|data:", re.IGNORECASE)


def local_path(uri: str) -> str | None:
    """The path that an address stands for on this machine, as the system names it; None if it lies elsewhere."""
    if scheme := _FILE.match(uri):
        return unquote(uri[scheme.end() :], errors="surrogateescape")
    return None if _ELSEWHERE.match(uri) else uri
