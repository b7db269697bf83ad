"""Names the file of an item, and writes a name into a field that ends at the next space."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TextIO

from pipelines.formats.exported import safe_path

_ENDS_A_FIELD = re.compile('[\\s"%;\x00-\x1f\x7f\ufeff\ud800-\udfff]')

# What pandas, and with it pyannote.database, takes for a field that is missing.
_MISSING = re.compile(r"<NA>|#?N/?A|n/a|NULL|null|None|-?NaN|-?nan|-?1\.#(IND|QNAN)")


def open_file(out: Path, item_id: str, suffix: str) -> TextIO:
    """Open an item's own file in the output folder for writing, as UTF-8 with ``\\n``."""
    file = out / file_of(item_id, suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.open("w", encoding="utf-8", newline="\n")


def file_of(item_id: str, suffix: str) -> PurePosixPath:
    """The path of an item's own file below the output folder; different ids have different paths.

    A folder that ends like such a file (``a.vtt/`` in an id) gets a ``%`` behind it, which no safe path ends in: the
    item ``a`` has its file of that name.
    """
    path = safe_path(item_id)
    folders = (f"{part}%" if part.endswith(suffix) else part for part in path.parts[:-1])
    return PurePosixPath(*folders, path.name + suffix)


def field(name: str) -> str:
    """A name as one field of a line; different names are different fields.

    Spaces of any kind, ``"``, ``%``, ``;``, control characters and lone surrogates are written as in a URL, and so is
    the first sign of what readers take for "missing" (``NA``, ``None`` …).
    """
    written = _ENDS_A_FIELD.sub(lambda match: _percent(match[0]), name)
    if _MISSING.fullmatch(written):
        written = _percent(written[0]) + written[1:]
    return written or "%"


def _percent(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "surrogatepass"))
