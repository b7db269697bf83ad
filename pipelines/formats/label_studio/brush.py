"""Encodes masks as the brush strokes of Label Studio."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.geometry import decode_mask
from models.types import Mask

_SIZES = (3, 4, 8, 16)  # bits of a run's length, by the packet's two-bit index
_LONGEST = 1 << _SIZES[-1]
_CHANNELS = 4  # RGBA, all four alike


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
