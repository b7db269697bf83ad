"""Names the files that stand beside an image after the image, however its id is written."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath
from types import TracebackType

from models.types import Item
from pipelines.formats.exported import safe_path

_LONGEST_NAME = 1000  # bytes; systems take 4096 for a whole path
_SUFFIX = re.compile(r"\.(avif|bmp|gif|heic|heif|jp2|jpe?g|mpo|pgm|png|ppm|tiff?|webp)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """The name that an image and the files about it share: a relative path without the image's ``suffix``.

    ``is_new`` says that the image was not seen before.
    """

    name: str
    suffix: str
    is_new: bool


class Stems:
    """Gives every image a stem: the path of its id without suffix (``safe_path``), as readers pair files by it.

    Of several ids with one stem (``a.jpg``, ``a.png``; ``A.jpg`` too, for systems that tell no case apart) only the
    first gets it; the others keep their suffix in the stem (``a.png`` → ``a.png.txt`` and ``a.png.png``). Which are
    taken is written to a file of SQLite's own, since a run may have more images than memory holds names.

    Args:
        suffix: of the files to name. A folder of that name, or of an image's, would stand in a file's way; its dot is
            written ``%2E``.
        reserved: names that no folder of an image may have; their first sign is written as in a URL.
    """

    def __init__(self, suffix: str, *, reserved: frozenset[str] = frozenset()) -> None:
        self._suffix = suffix
        self._reserved = reserved
        self._owners = sqlite3.connect("")  # a file without a name, which is gone when it is closed
        self._owners.execute("CREATE TABLE owners (name TEXT PRIMARY KEY, id BLOB) WITHOUT ROWID")

    def __enter__(self) -> Stems:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owners.close()

    def claim(self, item: Item) -> Stem:
        """The stem of an image, the same whenever it comes."""
        image = safe_path(item.id)
        ending = _SUFFIX.search(image.name) or _SUFFIX.search(re.split("[?#]", item.uri or "")[0])
        suffix = ending[0] if ending else ""
        item_id = item.id.encode("utf-8", "surrogatepass")
        for name in self._names(image, item_id):
            owner = self._owner(name)
            if owner in (None, item_id):
                self._owners.execute("INSERT OR IGNORE INTO owners VALUES (?, ?)", (name.lower(), item_id))
                return Stem(name=name, suffix=suffix, is_new=owner is None)
        raise AssertionError("there is always another name")

    def _owner(self, name: str) -> bytes | None:
        with closing(self._owners.execute("SELECT id FROM owners WHERE name = ?", (name.lower(),))) as found:
            row = found.fetchone()
        return row[0] if row else None

    def _names(self, image: PurePosixPath, item_id: bytes) -> Iterator[str]:
        whole = "/".join([*map(self._folder, image.parts[:-1]), image.name])
        if len(whole) > _LONGEST_NAME:
            whole = hashlib.sha256(item_id).hexdigest()
        yield _SUFFIX.sub("", whole) or whole
        yield whole
        yield from (f"{whole}~{number}" for number in count(2))

    def _folder(self, part: str) -> str:
        if part.lower() in self._reserved:
            return f"%{ord(part[0]):02X}{part[1:]}"
        stem, dot, suffix = part.rpartition(".")
        is_in_the_way = f".{suffix.lower()}" == self._suffix or _SUFFIX.search(part)
        return f"{stem}%2E{suffix}" if dot and is_in_the_way else part
