"""Decodes an image file to upright RGB pixels."""

from __future__ import annotations

import contextlib
import warnings
from io import BytesIO

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageOps

from models.errors import ItemError
from models.media import signature
from models.media.limits import MediaLimits

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_WANTED = f"wanted one of {', '.join(FORMATS)}"
# Every scan of a progressive JPEG passes over all pixels again; encoders write about ten.
_MAX_JPEG_SCANS = 200
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_SUBSAMPLINGS = ("444", "422", "420")
_GIF_FRAME = b"\0\x2c"  # the end of the block before, and a frame's separator


def decode(data: bytes, limits: MediaLimits) -> np.ndarray:
    """Decode the first frame.

    EXIF orientation is applied, transparency is laid over white. 16-bit grey is divided by 257; 32-bit and
    floating-point grey, which have no fixed white, are stretched from their minimum to their maximum.

    Returns:
        (H, W, 3) uint8 RGB, writable.

    Raises:
        ItemError: unreadable_image, wrong_media, or too_large (found out from headers, before decoding).
    """
    _silence_pillow()
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _refuse_bombs(image, data, limits)
            if (image_rgb := _plain_jpeg(image, data)) is not None:
                return image_rgb
            image.load()
            if image.format == "PNG":
                _refuse_broken_chunks(data)
            _turn_upright(image)
            return _to_rgb(image)
    except ItemError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise _too_large("more pixels than any limit allows", limits) from err
    except Image.UnidentifiedImageError as err:
        raise _unidentified(data) from err
    except Exception as err:  # hostile bytes bring out any exception in Pillow's parsers; the item fails alone
        raise ItemError(
            "unreadable_image",
            f"the image is damaged: got {signature.identify(data)[0]} ({_one_line(err)}); {_WANTED}, complete; "
            "export it again",
        ) from err


def size_hw(data: bytes, limits: MediaLimits) -> tuple[int, int]:
    """The height and width of what ``decode`` gives for the same bytes; decodes only what has to be turned.

    Raises:
        ItemError: as ``decode``.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _refuse_bombs(image, data, limits)
            _turn_upright(image)
            return image.height, image.width
    except Exception:  # decode says why
        height, width = decode(data, limits).shape[:2]
        return height, width


def plain_jpeg_size_hw(data: bytes, limits: MediaLimits) -> tuple[int, int] | None:
    """The size of a JPEG that any decoder reads alike; None for whatever ``decode`` must see, or must refuse.

    It is upright, in the usual colours, complete to its last marker, and within the limits. What lies between the
    markers is not looked at.
    """
    _silence_pillow()
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            _refuse_bombs(image, data, limits)
            if image.format != "JPEG" or image.mode != "RGB" or not _is_upright(image):
                return None
            size_hw = (image.height, image.width)
            *coded_hw, colours, subsampling = simplejpeg.decode_jpeg_header(data)
            is_usual = (*coded_hw, colours) == (*size_hw, "YCbCr") and subsampling in _SUBSAMPLINGS
            return size_hw if is_usual and data.endswith(_JPEG_END) else None
    except Exception:  # decode says why
        return None


def _silence_pillow() -> None:
    """Keep Pillow's complaints about odd files off stderr: what matters of them becomes an ItemError.

    warnings.catch_warnings swaps a list that all threads share, and images are decoded in several threads.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, module=r"PIL\.")


def _refuse_bombs(image: Image.Image, data: bytes, limits: MediaLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise _too_large(f"{width} × {height} pixels", limits)
    if image.format == "TIFF" and _largest_tile(image) > limits.max_pixels:
        raise _too_large(f"tiles of {_largest_tile(image)} pixels", limits)
    if image.format in ("JPEG", "MPO") and data.count(_JPEG_SCAN) > _MAX_JPEG_SCANS:
        raise _too_large(f"{data.count(_JPEG_SCAN)} scans", limits)
    if _has_more_frames(image, data, limits.max_frames):
        raise _too_large(f"more than {limits.max_frames} frames", limits)


def _refuse_broken_chunks(data: bytes) -> None:
    """Check what Pillow passes over when it decodes a PNG: the checksums of the pixels, and whether it has an end."""
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        image.verify()


def _largest_tile(image: Image.Image) -> int:
    """Pixels of a TIFF's tile, which libtiff allocates whole however small the image is."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(322, 0)) * int(tags.get(323, 0))  # TileWidth, TileLength


def _has_more_frames(image: Image.Image, data: bytes, max_frames: int) -> bool:
    """Whether there are more frames than allowed, in time that a hostile file cannot stretch."""
    if image.format == "TIFF":  # n_frames takes quadratic time
        try:
            image.seek(max_frames)
        except EOFError:
            image.seek(0)
            return False
        return True
    # n_frames is linear in the frames there are; chance puts these two bytes into one of 65536 places.
    if image.format == "GIF" and data.count(_GIF_FRAME) > max_frames + len(data) // 1000:
        return True
    return getattr(image, "n_frames", 1) > max_frames


def _plain_jpeg(image: Image.Image, data: bytes) -> np.ndarray | None:
    """An upright colour JPEG, or None for anything else, which Pillow decodes.

    The pixels are Pillow's (both stand on libjpeg-turbo), in a third of its time. Above all, Pillow copies them out
    under the interpreter's lock, 3 ms for 790 × 790 pixels, in which a network in another thread stands still.
    """
    if image.format != "JPEG" or image.mode != "RGB" or not _is_upright(image):
        return None
    try:
        if simplejpeg.decode_jpeg_header(data)[:2] != (image.height, image.width):
            return None
        return simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError:  # Pillow says what is wrong with it, or reads it
        return None


def _is_upright(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) == 1
    except Exception:  # EXIF too damaged to be parsed; Pillow's way knows what to do
        return False


def _turn_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # EXIF too damaged to be parsed states no orientation
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Any of Pillow's modes as (H, W, 3) uint8."""
    if image.mode.startswith("I;16"):
        return _grey((np.asarray(image).astype(np.uint32) + 128) // 257)
    if image.mode in ("I", "F"):
        return _grey(_stretch(np.asarray(image)))
    if image.has_transparency_data:
        image = _over_white(image.convert("RGBA"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _over_white(rgba: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", rgba.size, "white")
    canvas.paste(rgba, mask=rgba)
    return canvas


def _stretch(values: np.ndarray) -> np.ndarray:
    """(H, W) of any number → (H, W) in 0..255, the finite minimum at 0 and the maximum at 255; NaN becomes 0."""
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape)
    low, high = values[finite].min(), values[finite].max()
    scaled = (np.where(finite, values, low) - low) * (255.0 / ((high - low) or 1.0))
    return scaled.round()


def _grey(values: np.ndarray) -> np.ndarray:
    """(H, W) in 0..255 → (H, W, 3) uint8."""
    return np.repeat(values.astype(np.uint8)[:, :, None], 3, axis=2)


def _unidentified(data: bytes) -> ItemError:
    name, media = signature.identify(data)
    if media == "audio":
        return ItemError("wrong_media", f"the item says image and its bytes are {name}; {_WANTED}; correct its media")
    return ItemError("unreadable_image", f"the image cannot be read: got {name}; {_WANTED}; convert it")


def _too_large(got: str, limits: MediaLimits) -> ItemError:
    return ItemError(
        "too_large",
        f"the image has {got}; at most {limits.max_pixels} pixels and {limits.max_frames} frames are taken; "
        "scale it down or split it",
    )


def _one_line(err: Exception) -> str:
    return (" ".join(str(err).split()) or type(err).__name__)[:160]
