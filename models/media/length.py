"""Compares the length that a recording's header states with what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

_Order = Literal["little", "big"]

_SOUND: dict[str, tuple[_Order, bytes]] = {"WAV": ("little", b"data"), "AIFF": ("big", b"SSND")}
_PLACEHOLDER_BYTES = 0x7F00_0000  # recorders that stream state about 2 or 4 GiB, as they cannot go back to the header
_SLACK_BYTES = 512  # some count the header, too
_SLACK_S = 0.25  # what an encoder adds in front and at the end, and a decoder takes off again
_SLACK_SHARE = 0.02
_MOST_CHUNKS = 1_000  # what comes behind them belongs to none
_VBR_TAGS = (b"Xing", b"Info", b"VBRI")
_VBR_TAG_AT_MOST = 256  # bytes after the first frame's begin
_DURATIONS = (b"\x44\x89\x84", b"\x44\x89\x88")  # Matroska's element Duration, a float of 4 or 8 bytes
_SEGMENT_INFO_BYTES = 4096


def fault(data: bytes, name: str) -> str | None:
    """What is wrong with the length that a WAV or AIFF file states for its sound, in a sentence; None if it fits."""
    if name not in _SOUND:
        return None
    order, wanted = _SOUND[name]
    sound = next(((start, size) for chunk, start, size in _chunks(data, order) if chunk == wanted), None)
    if sound is None or sound[1] >= _PLACEHOLDER_BYTES:
        return None
    start, stated = sound
    there, slack = len(data) - start, _SLACK_BYTES + int(_SLACK_SHARE * stated)
    if stated > there + slack:
        return f"the recording is cut off: its header states {stated} bytes of sound, and {there} are there"
    if (more := _unexplained(data, order, start + stated + stated % 2)) > slack:
        return f"the header is wrong: it states {stated} bytes of sound, and {more} more follow"
    return None


def is_stated(data: bytes, name: str) -> bool:
    """Whether an MP3's or Matroska's header states how long it lasts; elsewhere FFmpeg guesses, by the bit rate."""
    match name:
        case "MP3":
            frame = _behind_id3(data)
            return any(tag in data[frame : frame + _VBR_TAG_AT_MOST] for tag in _VBR_TAGS)
        case "Matroska":
            return any(element in data[:_SEGMENT_INFO_BYTES] for element in _DURATIONS)
        case _:
            return False


def is_short(heard_s: float, *, of_s: float) -> bool:
    """Whether so much is missing that the recording must have been cut off."""
    return of_s - heard_s > _SLACK_S + _SLACK_SHARE * of_s


def _chunks(data: bytes, order: _Order, at: int = 12) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the content, and stated size of each chunk of a RIFF or IFF file, as far as there are any."""
    for _ in range(_MOST_CHUNKS):
        name = data[at : at + 4]
        if at + 8 > len(data) or not (name.isascii() and name.decode().isprintable()):
            return
        size = int.from_bytes(data[at + 4 : at + 8], order)
        yield name, at + 8, size
        at += 8 + size + size % 2


def _unexplained(data: bytes, order: _Order, at: int) -> int:
    """How many bytes from there on belong to no chunk."""
    for _, start, size in _chunks(data, order, at):
        if start + size > len(data):
            break
        at = start + size + size % 2
    return max(len(data) - at, 0)


def _behind_id3(data: bytes) -> int:
    """Where the first frame of an MP3 begins: behind an ID3v2 tag, whose size has seven bits in each byte."""
    if not data.startswith(b"ID3") or len(data) < 10:
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
