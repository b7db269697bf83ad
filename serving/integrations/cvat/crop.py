"""Cuts the part out of a frame that an annotation request is about."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from serving.integrations.cvat.errors import BadAnnotationRequestError
from serving.integrations.cvat.frame import Frame

if TYPE_CHECKING:
    from PIL.Image import Image


def cropped(frame: Frame, roi: Sequence[float] | None) -> Frame:
    """The frame's part as a PNG; what is found there is said in the part's own pixels, as CVAT wants it.

    A frame that cannot be opened has a problem of its own.

    Args:
        roi: x1, y1, x2, y2 in pixels of the frame; None for all of it.

    Raises:
        BadAnnotationRequestError: the part is not inside the frame.
    """
    if not roi or frame.problem is not None:
        return frame
    from PIL import Image as images

    try:
        with images.open(io.BytesIO(frame.data)) as image:
            image.load()
            part = _part(image, roi)
    except BadAnnotationRequestError:
        raise
    except Exception:  # hostile bytes bring out any exception in Pillow's parsers; the frame fails alone
        return replace(frame, data=b"", problem="it is no image that can be opened")
    return replace(frame, data=png(part))


def png(image: Image) -> bytes:
    """A Pillow image as a file that keeps every pixel."""
    plain = image if image.mode in ("1", "L", "LA", "RGB", "RGBA", "P", "I;16") else image.convert("RGB")
    file = io.BytesIO()
    plain.save(file, "PNG", compress_level=1, exif=b"")  # the pixels are meant as they lie, not as EXIF would turn them
    return file.getvalue()


def _part(image: Image, roi: Sequence[float]) -> Image:
    left, top, right, bottom = map(int, roi)
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        message = f"the part {left}, {top}, {right}, {bottom} is not inside a frame of {image.width} × {image.height}"
        raise BadAnnotationRequestError("bad_annotation_request", message)
    return image.crop((left, top, right, bottom))
