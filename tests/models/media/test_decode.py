"""Checks that whatever the bytes are, decoding ends in a payload or an ItemError."""

from __future__ import annotations

import contextlib
import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.errors import ItemError
from models.media import decode
from models.types import Content, Media
from tests.models.media.files import a_picture, a_recording, a_tone, an_animation, an_encoding, an_image

MEDIA: tuple[Media, ...] = ("image", "audio", "text")


@functools.cache
def samples() -> tuple[tuple[Media, bytes], ...]:
    exif = Image.Exif()
    exif[0x112] = 6
    images = [an_image(kind=kind) for kind in ("PNG", "WEBP", "TIFF", "BMP", "GIF")]
    images += [an_image(kind="JPEG", progressive=True, exif=exif), an_image(a_picture().convert("CMYK"), "JPEG")]
    images += [an_image(kind="TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate")]
    images += [an_animation(kind, frames=2) for kind in ("GIF", "PNG", "WEBP", "TIFF")]
    tone = a_tone(0.1)
    sounds = [a_recording(tone, kind=kind) for kind in ("WAV", "FLAC", "OGG", "MP3", "AIFF")]
    sounds += [a_recording(tone, subtype=subtype) for subtype in ("FLOAT", "IMA_ADPCM")]
    sounds += [
        an_encoding(container, codec, samples=a_tone(0.1, 48_000)[:, 0])
        for container, codec in (("ipod", "aac"), ("webm", "libopus"), ("adts", "aac"))
    ]
    return *(("image", data) for data in images), *(("audio", data) for data in sounds)


@st.composite
def damaged_files(draw: st.DrawFn) -> Content:
    """A real file with some bytes overwritten, taken out or put in, perhaps cut off, perhaps under another medium."""
    media, data = draw(st.sampled_from(samples()))
    damaged = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, min(len(damaged), draw(st.sampled_from([64, 256, 10**6])))))
        damaged[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    cut = draw(st.none() | st.integers(0, len(damaged)))
    return Content(media=draw(st.sampled_from((media, media, media, *MEDIA))), data=bytes(damaged[:cut]))


def ends_well(content: Content) -> None:
    with contextlib.suppress(ItemError):
        decode(content)


@settings(max_examples=300)
@given(damaged_files())
def test_a_damaged_file_is_decoded_or_refused(content: Content) -> None:
    ends_well(content)


@given(st.sampled_from(MEDIA), st.binary(max_size=300))
def test_random_bytes_are_decoded_or_refused(media: Media, data: bytes) -> None:
    ends_well(Content(media=media, data=data))


@pytest.mark.parametrize("media", MEDIA)
def test_every_refusal_says_what_to_do(media: Media) -> None:
    with pytest.raises(ItemError) as caught:
        decode(Content(media=media, data=b"\xff\xfe\x00\xd8" * 9))

    assert caught.value.message.count(";") >= 1
