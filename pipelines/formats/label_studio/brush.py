"""Encodes masks as the brush strokes of Label Studio, and decodes what humans drew with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from models.geometry import decode_mask
from models.types import Mask

_SIZES = (3, 4, 8, 16)  # bits of a run's length, by the packet's two-bit index
_LONGEST = 1 << _SIZES[-1]
_CHANNELS = 4  # RGBA, all four alike
_MOST_PIXELS = 1 << 28
_OPAQUE = 128  # the editor draws at the screen's size and scales up, which leaves half-covered pixels along the edge


def brush_rle(mask: Mask) -> list[int]:
    """The mask's pixels, row by row, four channels each, 0 or 255, in the run-length encoding of thi.ng's rle-pack.

    Format: 32 bits for the number of values, 5 for their size less one, four times 4 for the sizes of lengths less one;
    then for each run a one, the index of its size, its length less one, its value. Source: label_studio_sdk
    2.1, converter/brush.py, whose ``mask2rle`` takes a list of characters for each bit and seconds for a photo.

    Returns:
        Bytes as numbers; none for a mask without a pixel.
    """
    pixels = decode_mask(mask).ravel()
    if not pixels.any():
        return []
    header = f"{pixels.size * _CHANNELS:032b}{8 - 1:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)
    bits = header + "".join(_packets(pixels))
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _packets(pixels: np.ndarray) -> Iterator[str]:
    starts = np.flatnonzero(np.diff(pixels, prepend=~pixels[:1]))
    lengths = np.diff(starts, append=pixels.size) * _CHANNELS
    for is_inside, length in zip(pixels[starts].tolist(), lengths.tolist(), strict=True):
        value = "11111111" if is_inside else "00000000"
        whole, rest = divmod(length - 1, _LONGEST)
        yield f"111{_LONGEST - 1:016b}{value}" * whole
        index = next(index for index, size in enumerate(_SIZES) if rest < 1 << size)
        yield f"1{index:02b}{rest:0{_SIZES[index]}b}{value}"


def brush_bitmap(rle: Sequence[int], *, size_hw: tuple[int, int]) -> np.ndarray | None:
    """The pixels that a brush stroke covers by half or more; None where the numbers are no stroke of this size.

    Runs of equal values and runs of any values are read; of the four channels the fourth counts, as in
    label_studio_sdk's ``decode_rle`` and what it makes of it.

    Args:
        rle: bytes as numbers, from outside.

    Returns:
        (H, W) bool.
    """
    count = size_hw[0] * size_hw[1] * _CHANNELS
    is_bytes = all(isinstance(byte, int) and 0 <= byte < 256 for byte in rle)
    if not is_bytes or not 0 < count <= _MOST_PIXELS * _CHANNELS:
        return None
    bits = _Bits(bytes(rle))
    try:
        return _values(bits, count)[_CHANNELS - 1 :: _CHANNELS].reshape(size_hw) >= _OPAQUE
    except _EndError:
        return None


class _EndError(Exception):
    """The bits end before the values do, or are others than the header says."""


class _Bits:
    """Reads numbers of any length from bytes, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
        self._place = 0

    def number(self, length: int) -> int:
        return int.from_bytes(np.packbits(self._next(length)).tobytes(), "big") >> (-length % 8)

    def numbers(self, count: int, length: int) -> np.ndarray:
        """(count,) uint8 of ``length`` ≤ 8 bits each."""
        bits = self._next(count * length).reshape(count, length)
        return np.packbits(np.pad(bits, ((0, 0), (8 - length, 0))), axis=1)[:, 0]

    def _next(self, length: int) -> np.ndarray:
        found = self._bits[self._place : self._place + length]
        if len(found) < length:
            raise _EndError
        self._place += length
        return found


def _values(bits: _Bits, count: int) -> np.ndarray:
    """(count,) uint8."""
    said, length = bits.number(32), bits.number(5) + 1
    sizes = [bits.number(4) + 1 for _ in range(4)]
    if said != count or length != 8:
        raise _EndError
    values, place = np.zeros(count, dtype=np.uint8), 0
    while place < count:
        is_run = bits.number(1)
        end = place + 1 + bits.number(sizes[bits.number(2)])
        if end > count:
            raise _EndError
        values[place:end] = bits.number(length) if is_run else bits.numbers(end - place, length)
        place = end
    return values
