"""Draws the scenes that the demo models know, and says what is where in them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from serving.demo import DROP

EASY = DROP / "detection" / "easy_00.jpg"
_ORIENTATION = 0x0112
# How a file is stored so that it is seen upright, by its EXIF orientation.
_STORED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def seen(path: Path = EASY) -> Image.Image:
    return Image.open(path).convert("RGB")


def turned(picture: Image.Image, orientation: int) -> bytes:
    """A file that is seen as this picture, whose pixels are stored turned."""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    file = BytesIO()
    picture.transpose(_STORED[orientation]).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def many(count: int, *, side_px: int = 96) -> list[bytes]:
    """Small pictures of which no two are equal, so that each is computed."""
    noise = np.random.default_rng(0).integers(0, 256, (count, side_px, side_px, 3), np.uint8)
    scene = np.asarray(seen().resize((side_px, side_px)), np.uint8)
    files = []
    for one in noise:
        file = BytesIO()
        Image.fromarray((0.9 * scene + 0.1 * one).astype(np.uint8)).save(file, "JPEG")
        files.append(file.getvalue())
    return files
