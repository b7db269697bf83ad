"""Walks over the members of a tar archive by their headers, believing none of them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from models.errors import ConfigError
from pipelines.fetch.tar import HEADER_BYTES, digest

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_LONGEST_EXTENSION = 2**20  # bytes of a name or of attributes that stand before a header; a path has at most 4096
_NAMES = (tarfile.GNUTYPE_LONGNAME,)
_ATTRIBUTES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_PASSED_OVER = (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE)
_WITHOUT_BYTES = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TarMember:
    """A member: ``fault`` says why it is none that can be read; folders are no members.

    ``offset`` is where its ``size`` bytes begin, ``header`` the digest of the header before them.
    """

    name: str
    offset: int
    size: int
    header: str
    fault: str = ""


class DamagedError(Exception):
    """From here on, nobody can say where a member begins; ``offset`` is where that is."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(why)
        self.offset = offset


def members(file: BinaryIO) -> Iterator[TarMember]:
    """The members in their order, up to the first empty block. Between two of them the file may be read anywhere.

    Raises:
        ConfigError: the archive is compressed, or no tar.
        DamagedError: a header is none.
    """
    check(file)
    size = file.seek(0, 2)
    offset, name, attributes = 0, None, dict[str, str]()
    while offset < size:
        header = _at(file, offset, HEADER_BYTES)
        info = _info(header, offset)
        if info is None:
            return
        start = offset + HEADER_BYTES
        if info.type == tarfile.GNUTYPE_SPARSE:
            start = _behind_map(file, header, start)
        offset = start + _blocks(_length(info, attributes, start))
        if info.type in _NAMES:
            name = _text(_extension(file, start, info)).rstrip("\0")
        elif info.type in _ATTRIBUTES:
            attributes = _records(_extension(file, start, info), start)
        elif info.type not in _PASSED_OVER:
            if info.type != tarfile.DIRTYPE:
                length = _length(info, attributes, start)
                yield TarMember(
                    name=attributes.get("path") or name or info.name,
                    offset=start,
                    size=length,
                    header=digest(header),
                    fault=_fault(info, attributes, is_cut=start + length > size),
                )
            name, attributes = None, {}


def check(file: BinaryIO) -> None:
    """
    Raises:
        ConfigError: the file, which stands at its beginning, is compressed, or no tar.
    """
    header = file.read(HEADER_BYTES)
    if not header:
        raise ConfigError("the archive is empty: got 0 bytes; write it anew")
    for magic, kind in _COMPRESSED.items():
        if header.startswith(magic):
            raise ConfigError(f"the archive is compressed ({kind}); unpack it to .tar: members are read where they lie")
    try:
        _info(header, 0)
    except DamagedError as err:
        raise ConfigError(f"the archive is no tar ({err}); give one in WebDataset's layout") from err


def _info(header: bytes, offset: int) -> tarfile.TarInfo | None:
    """What a header says; None for an empty block, which ends an archive."""
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # pyright: ignore[reportAttributeAccessIssue]
        return None
    except (tarfile.HeaderError, ValueError) as err:
        raise DamagedError(offset, f"no header: {err}") from err
    if info.size < 0:
        raise DamagedError(offset, f"a header that states {info.size} bytes")
    return info


def _length(info: tarfile.TarInfo, attributes: dict[str, str], start: int) -> int:
    """How many bytes follow a header."""
    if info.type in _WITHOUT_BYTES:
        return 0
    if info.type in _NAMES + _ATTRIBUTES + _PASSED_OVER or "size" not in attributes:
        return info.size
    try:
        length = int(attributes["size"])
    except ValueError:
        length = -1
    if length < 0:
        raise DamagedError(start, f"attributes that state {attributes['size'][:20]!r} bytes")
    return length


def _fault(info: tarfile.TarInfo, attributes: dict[str, str], *, is_cut: bool) -> str:
    if info.issym() or info.islnk():
        return "it is a link; store the file itself"
    if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in attributes):
        return "it is stored with holes; write the archive without --sparse"
    if not info.isreg():
        return "it is no regular file"
    return "it goes beyond the end of the archive, which was cut" if is_cut else ""


def _extension(file: BinaryIO, start: int, info: tarfile.TarInfo) -> bytes:
    if info.size > _LONGEST_EXTENSION:
        raise DamagedError(start, f"a name or attributes of {info.size} bytes")
    return _at(file, start, info.size)


def _behind_map(file: BinaryIO, header: bytes, start: int) -> int:
    """Where the bytes of an old GNU sparse member begin: behind the blocks that go on with the map of its holes."""
    goes_on = header[482]
    while goes_on:
        goes_on = _at(file, start, HEADER_BYTES)[504]
        start += HEADER_BYTES
    return start


def _records(data: bytes, start: int) -> dict[str, str]:
    """The attributes of a POSIX header: lines of "length key=value", the length counting all of the line."""
    records = dict[str, str]()
    while data.strip(b"\0"):
        length, _, _ = data[:20].partition(b" ")
        if not length.isdigit() or not len(length) + 1 < int(length) <= len(data):
            raise DamagedError(start, "attributes without a length")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        records[_text(key)] = _text(value)
        data = data[int(length) :]
    return records


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise DamagedError(offset, f"the archive ends after {len(data)} of {size} bytes")
    return data


def _blocks(size: int) -> int:
    return -(-size // HEADER_BYTES) * HEADER_BYTES


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
