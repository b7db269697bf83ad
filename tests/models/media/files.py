"""Builds media files, good and hostile, small enough for tests."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"\n<!DOCTYPE html><html><body>Sign in</body></html>"


def a_picture(width: int = 17, height: int = 13) -> Image.Image:
    """A red picture with a white top left quarter, so that turning it shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :, 0] = 200
    pixels[: height // 2, : width // 2] = 255
    return Image.fromarray(pixels)


def an_image(image: Image.Image | None = None, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    (image or a_picture()).save(file, kind, **options)
    return file.getvalue()


def a_jpeg_without(marker: int, *, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG of noise that lacks the segments of a marker: 0xDB holds what the pixels were divided by."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    data, kept, at = an_image(Image.fromarray(noise), "JPEG"), b"\xff\xd8", 2
    while data[at + 1] != 0xDA:
        after = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        kept += b"" if data[at + 1] == marker else data[at:after]
        at = after
    return kept + data[at:]


def an_animation(kind: str, frames: int) -> bytes:
    pictures = [Image.new("RGB", (5, 4), (10 * k, 200, 0)) for k in range(frames)]
    return an_image(pictures[0], kind, save_all=True, append_images=pictures[1:])


def a_png(width: int, height: int, *, bits: int = 8, colour: int = 2, pixels: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG whose header may say anything and whose pixels may be missing."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def a_tiff(pages: int, *, more_tags: Sequence[tuple[int, int]] = (), last_page_at: int = 0) -> bytes:
    """A 4 × 4 grey TIFF of many pages; ``last_page_at`` is where the last page says that the next one lies."""
    tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 0, 279: 16} | dict(more_tags)
    file = bytearray(b"II*\0" + struct.pack("<I", 8))
    for page in range(pages):
        after = len(file) + 2 + 12 * len(tags) + 4
        file += struct.pack("<H", len(tags))
        file += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
        file += struct.pack("<I", after if page < pages - 1 else last_page_at)
    return bytes(file)


def a_gif_of_specks(frames: int) -> bytes:
    """A GIF of 12 bytes a frame."""
    one = an_image(Image.new("P", (4, 4)), "GIF")
    head = one[: one.index(b"\x2c")]
    return head + (b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x00") * frames + b";"


def a_tone(seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """(n, channels) float32: 440 Hz at 0.3."""
    mono = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return np.repeat(mono.astype(np.float32)[:, None], channels, axis=1)


def a_recording(
    samples: np.ndarray | None = None, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    file = BytesIO()
    soundfile.write(file, a_tone(rate=rate) if samples is None else samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def an_encoding(
    container: str,
    codec: str,
    *,
    samples: np.ndarray | None = None,
    rate: int = 48_000,
    muxer: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
) -> bytes:
    """A mono recording as FFmpeg writes it, with options for its muxer and its encoder."""
    wave = a_tone(rate=rate)[:, 0] if samples is None else samples
    file = BytesIO()
    with av.open(file, "w", format=container, options=muxer or {}) as output:
        stream: Any = output.add_stream(codec, rate=rate, options=encoder or {})
        stream.layout = "mono"
        to_format = av.AudioResampler(format=stream.codec_context.format.name, layout="mono", rate=rate)
        for start in range(0, len(wave), 1152):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1152], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            for converted in to_format.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return file.getvalue()


def a_silent_video() -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(stream.encode(None))
    return file.getvalue()


def a_wav_header(*, rate: int = 16_000, channels: int = 1, data_bytes: int, bits: int = 16) -> bytes:
    block = min(channels * bits // 8, 65_535)
    form = struct.pack("<HHIIHH", 1, channels, rate, (rate * block) & 0xFFFFFFFF, block, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", data_bytes)
    )


def a_flac_claiming(total_samples: int) -> bytes:
    """Half a second of FLAC whose header states another number of samples (0 means unknown)."""
    file = bytearray(a_recording(kind="FLAC"))
    stated = int.from_bytes(file[18:26], "big")  # rate, channels, bits and, in the lowest 36 bits, the total
    file[18:26] = (stated >> 36 << 36 | total_samples).to_bytes(8, "big")
    return bytes(file)
