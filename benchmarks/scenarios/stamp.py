"""Makes items differ in their bytes and in nothing that a model sees."""

from __future__ import annotations

import struct
import zlib

from models.media import signature
from models.types import Media

_JPEG_START, _PNG_START, _FLAC_START = 2, 8 + 25, 4 + 4 + 34


def can_stamp(media: Media, data: bytes) -> bool:
    """Whether the format has a place for a number that decoders pass over."""
    return media == "text" or (signature.identify(data)[0] in _STAMPS and not data.startswith(b"RF64"))


def stamped(media: Media, data: bytes, number: int) -> bytes:
    """The same picture, recording or text, with a number in a place that its decoder passes over.

    An engine may share the work of identical items in flight; a benchmark that sent one item twice would measure that.
    """
    if media == "text":
        return data + _blanks(number)
    return _STAMPS[signature.identify(data)[0]](data, struct.pack(">Q", number))


def _blanks(number: int) -> bytes:
    """The number in binary, a blank or a line's end for each digit."""
    return bytes(10 if number >> bit & 1 else 32 for bit in range(number.bit_length() or 1)) + b"\n"


def _jpeg(data: bytes, number: bytes) -> bytes:
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(number)) + number
    return data[:_JPEG_START] + comment + data[_JPEG_START:]


def _png(data: bytes, number: bytes) -> bytes:
    body = b"tEXtn\0" + number.hex().encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:_PNG_START] + chunk + data[_PNG_START:]


def _flac(data: bytes, number: bytes) -> bytes:
    """An APPLICATION block behind STREAMINFO, which hands on its mark of being the last."""
    last, application = data[4] & 0x80, 2
    block = bytes([last | application]) + (4 + len(number)).to_bytes(3, "big") + b"plbl" + number
    return data[:4] + bytes([data[4] & 0x7F]) + data[5:_FLAC_START] + block + data[_FLAC_START:]


def _wav(data: bytes, number: bytes) -> bytes:
    body = data + b"\0" * (len(data) % 2) + b"junk" + struct.pack("<I", len(number)) + number
    return body[:4] + struct.pack("<I", len(body) - 8) + body[8:]


_STAMPS = {"JPEG": _jpeg, "PNG": _png, "FLAC": _flac, "WAV": _wav}
