"""Checks that every kind of picture becomes upright RGB and that hostile ones are refused before they are decoded."""

from __future__ import annotations

import tracemalloc
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from models.errors import ItemError
from models.media import MediaLimits, decode
from models.types import BoxPrompt, Content, EncodedJpeg, ImagePayload, Prompts
from tests.models.media.files import (
    HTML,
    SVG,
    a_gif_of_specks,
    a_picture,
    a_png,
    a_recording,
    a_tiff,
    an_animation,
    an_image,
    png_chunk,
)

ORIENTATION = 0x112


def read(data: bytes, **limits: int) -> np.ndarray:
    payload = decode(Content(media="image", data=data), MediaLimits(**limits))
    assert isinstance(payload, ImagePayload)
    return payload.image_rgb


def refusal(data: bytes, **limits: int) -> ItemError:
    with pytest.raises(ItemError) as caught:
        read(data, **limits)
    return caught.value


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_a_picture_comes_out_as_it_went_in(kind: str) -> None:
    data = an_image(a_picture(), kind, **({"lossless": True} if kind == "WEBP" else {}))

    image_rgb = read(data)

    np.testing.assert_array_equal(image_rgb, np.array(a_picture()))
    assert image_rgb.dtype == np.uint8
    assert image_rgb.flags.writeable


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_a_lossy_picture_comes_out_close(kind: str) -> None:
    image_rgb = read(an_image(a_picture(), kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {})))

    assert image_rgb.shape == (13, 17, 3)
    assert np.abs(image_rgb[-3:, -3:].astype(int) - (200, 0, 0)).max() < 12


@pytest.mark.parametrize(
    "how", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 20}, {"comment": b"x" * 999}]
)
def test_a_jpeg_has_the_pixels_that_pillow_gives_it(how: dict[str, int | bool | bytes]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (67, 131, 3), dtype=np.uint8)
    data = an_image(Image.fromarray(noise), "JPEG", **how)

    image_rgb = read(data)

    np.testing.assert_array_equal(image_rgb, np.array(Image.open(BytesIO(data))))
    assert image_rgb.flags.writeable


@pytest.mark.parametrize("how", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}])
def test_a_plain_jpeg_is_kept_for_a_model_that_decodes_it(how: dict[str, int | bool]) -> None:
    prompts, data = Prompts(boxes=(BoxPrompt(xyxy=(1, 2, 3, 4)),)), an_image(a_picture(), "JPEG", **how)

    payload = decode(Content(media="image", data=data, prompts=prompts), keeps_jpegs=True)

    assert payload == EncodedJpeg(data=data, size_hw=(13, 17), prompts=prompts)


@pytest.mark.parametrize(
    "data",
    [
        an_image(kind="PNG"),
        an_image(a_picture().convert("L"), "JPEG"),
        an_image(a_picture().convert("CMYK"), "JPEG"),
        an_image(kind="JPEG", keep_rgb=True),
        an_image(kind="JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
        an_image(kind="JPEG") + b"<html>",
    ],
    ids=["PNG", "grey", "CMYK", "RGB", "on its side", "something behind it"],
)
def test_any_other_image_is_decoded_for_every_model(data: bytes) -> None:
    content = Content(media="image", data=data)

    payload = decode(content, keeps_jpegs=True)

    assert isinstance(payload, ImagePayload)
    np.testing.assert_array_equal(payload.image_rgb, read(data))


@pytest.mark.parametrize(
    ("data", "limits", "code"),
    [
        (an_image(kind="JPEG"), MediaLimits(max_pixels=100), "too_large"),
        (an_image(kind="JPEG")[:-20], MediaLimits(), "unreadable_image"),
        (SVG, MediaLimits(), "unreadable_image"),
        (a_recording(), MediaLimits(), "wrong_media"),
    ],
)
def test_what_is_refused_is_refused_for_every_model(data: bytes, limits: MediaLimits, code: str) -> None:
    with pytest.raises(ItemError) as caught:
        decode(Content(media="image", data=data), limits, keeps_jpegs=True)

    assert caught.value.code == code


def test_prompts_travel_with_the_image() -> None:
    prompts = Prompts(boxes=(BoxPrompt(xyxy=(1, 2, 3, 4)),))

    payload = decode(Content(media="image", data=an_image(), prompts=prompts))

    assert isinstance(payload, ImagePayload)
    assert payload.prompts == prompts


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_turns_the_picture_upright(kind: str, orientation: int) -> None:
    undo = {
        1: lambda pixels: pixels,
        2: lambda pixels: pixels[:, ::-1],
        3: lambda pixels: pixels[::-1, ::-1],
        4: lambda pixels: pixels[::-1],
        5: lambda pixels: pixels.transpose(1, 0, 2),
        6: lambda pixels: np.rot90(pixels, -1),
        7: lambda pixels: np.rot90(pixels[:, ::-1], -1),
        8: lambda pixels: np.rot90(pixels, 1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation

    turned = read(an_image(kind=kind, exif=exif))

    np.testing.assert_array_equal(turned, undo(read(an_image(kind=kind))))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0" * 50])
def test_damaged_exif_states_no_orientation(exif: bytes) -> None:
    assert read(an_image(kind="JPEG", exif=exif)).shape == (13, 17, 3)


def test_a_large_maker_note_is_no_trouble() -> None:
    exif = Image.Exif()
    exif[0x927C] = b"\xee" * 60_000

    assert read(an_image(kind="JPEG", exif=exif)).shape == (13, 17, 3)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("L", "JPEG"), ("1", "PNG"), ("1", "TIFF"), ("P", "PNG"),
     ("LA", "PNG"), ("RGBA", "TIFF"), ("RGBA", "WEBP")],
)  # fmt: skip
def test_every_colour_mode_becomes_rgb(mode: str, kind: str) -> None:
    image_rgb = read(an_image(a_picture().convert(mode), kind))

    assert image_rgb.shape == (13, 17, 3)
    assert image_rgb[0, 0].min() > 240


def test_sixteen_bit_grey_keeps_its_full_range() -> None:
    values = np.array([[0, 257, 32_896, 65_535]], np.uint16)

    image_rgb = read(an_image(Image.fromarray(values)))

    assert image_rgb[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_grey_without_a_fixed_white_is_stretched(dtype: type) -> None:
    values = np.array([[-1000, 0, 1000]], dtype)

    image_rgb = read(an_image(Image.fromarray(values), "TIFF"))

    assert image_rgb[0, :, 0].tolist() == [0, 128, 255]


def test_floating_point_grey_survives_nan_and_infinity() -> None:
    values = np.array([[np.nan, 1.0, 2.0, np.inf]], np.float32)

    image_rgb = read(an_image(Image.fromarray(values), "TIFF"))

    assert image_rgb[0, :, 0].tolist() == [0, 0, 255, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_are_laid_over_white(mode: str) -> None:
    image_rgb = read(an_image(Image.new("RGBA", (3, 2), (9, 9, 9, 0)).convert(mode), "PNG" if mode != "PA" else "TIFF"))

    assert (image_rgb == 255).all()


@pytest.mark.parametrize("clear", [9, (9, 9, 9)])
def test_a_colour_that_a_png_calls_transparent_is_white(clear: int | tuple[int, int, int]) -> None:
    image = Image.new("L" if isinstance(clear, int) else "RGB", (3, 2), clear)

    assert (read(an_image(image, "PNG", transparency=clear)) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_colour_that_is_transparent_is_white(kind: str) -> None:
    image = Image.new("P", (3, 2), 2)
    image.putpalette([10, 10, 10, 20, 20, 20, 30, 30, 30])

    assert (read(an_image(image, kind, transparency=2)) == 255).all()


def test_half_transparent_black_is_grey() -> None:
    assert read(an_image(Image.new("RGBA", (2, 2), (0, 0, 0, 128))))[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    image_rgb = read(an_animation(kind, frames=3))

    assert np.abs(image_rgb.astype(int) - (0, 200, 0)).max() < 20


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_frame_cap_holds_exactly(kind: str) -> None:
    data = an_animation(kind, frames=4)

    assert read(data, max_frames=4).shape == (4, 5, 3)
    assert refusal(data, max_frames=3).code == "too_large"


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_extreme_shapes_are_decoded(size: tuple[int, int]) -> None:
    assert read(an_image(Image.new("RGB", size))).shape == (size[1], size[0], 3)


def test_bytes_after_the_end_of_a_jpeg_are_ignored() -> None:
    assert read(an_image(kind="JPEG") + b"PK\x03\x04<html><script>").shape == (13, 17, 3)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "no bytes at all"),
        (b"\xff", "1 bytes in an unknown format"),
        (SVG, "SVG"),
        (HTML, "HTML"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"%PDF-1.7\n", "PDF"),
        (b"SIMPLE  =                    T" + b" " * 2850, "FITS"),
        (b"8BPS\0\x01" + bytes(20), "Photoshop"),
        (b"icns\0\0\0\x08", "ICNS"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
    ],
)
def test_a_file_of_another_format_is_refused_by_its_name(data: bytes, named: str) -> None:
    error = refusal(data)

    assert error.code == "unreadable_image"
    assert f"got {named}" in error.message
    assert "wanted one of JPEG" in error.message


def test_a_recording_sent_as_an_image_is_wrong_media() -> None:
    error = refusal(a_recording())

    assert error.code == "wrong_media"
    assert "WAV" in error.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    data = an_image(Image.effect_noise((64, 64), 90).convert("RGB"), kind)

    assert refusal(data[: len(data) // 2]).code == "unreadable_image"


def test_a_png_without_width_is_refused() -> None:
    assert refusal(a_png(0, 10)).code == "unreadable_image"


def test_a_png_with_damaged_pixels_is_refused() -> None:
    data = bytearray(an_image())
    data[data.index(b"IDAT") + 6] ^= 0xFF

    assert refusal(bytes(data)).code == "unreadable_image"


def test_a_png_whose_pixels_have_a_wrong_checksum_is_refused() -> None:
    data = bytearray(an_image())
    name = data.index(b"IDAT")
    data[name + 4 + int.from_bytes(data[name - 4 : name])] ^= 1  # the checksum behind the chunk, not what it is of

    error = refusal(bytes(data))

    assert error.code == "unreadable_image"
    assert "damaged: got PNG" in error.message


def test_a_png_that_lost_nothing_but_its_end_is_refused() -> None:
    assert refusal(an_image()[:-12]).code == "unreadable_image"


@pytest.mark.parametrize("side", [6_400, 13_000, 20_000, 100_000])
def test_a_pixel_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    row = zlib.compress(bytes(1 + 3 * side))
    tracemalloc.start()

    error = refusal(a_png(side, side, pixels=row))

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "too_large"
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize("chunk", [b"zTXta\0\0", b"iTXta\0\1\0\0\0", b"iCCPa\0\0"])
def test_a_text_bomb_in_a_png_is_refused(chunk: bytes) -> None:
    bomb = png_chunk(chunk[:4], chunk[4:] + zlib.compress(bytes(5_000_000)))

    assert refusal(a_png(2, 2, pixels=bytes(14), extra=bomb)).code == "unreadable_image"


def test_a_garbage_colour_profile_is_ignored() -> None:
    assert read(an_image(kind="JPEG", icc_profile=b"garbage")).shape == (13, 17, 3)


def test_a_gif_of_countless_specks_is_refused_without_walking_it() -> None:
    assert refusal(a_gif_of_specks(500_000)).code == "too_large"


def test_a_tiff_of_countless_pages_is_refused_without_walking_it() -> None:
    assert refusal(a_tiff(pages=20_000)).code == "too_large"


def test_a_tiff_whose_pages_form_a_loop_ends() -> None:
    assert read(a_tiff(pages=3, last_page_at=8)).shape == (4, 4, 3)


def test_a_tiff_with_a_giant_tile_is_refused_before_it_is_allocated() -> None:
    error = refusal(a_tiff(pages=1, more_tags=[(322, 60_000), (323, 60_000), (324, 8), (325, 16)]))

    assert error.code == "too_large"
    assert "tiles" in error.message


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    data = an_image(kind="JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]

    assert refusal(data[:-2] + last_scan * 300 + data[-2:]).code == "too_large"


def test_no_warning_of_pillow_reaches_the_caller(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")

    refusal(a_png(10_000, 10_000))  # 100 megapixels: Pillow warns, and decodes

    assert not recwarn.list
