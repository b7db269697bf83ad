"""Checks that the part of a frame is cut out as it lies, and that what is no image has a problem of its own."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from serving.integrations.cvat.crop import cropped, png
from serving.integrations.cvat.errors import BadAnnotationRequestError
from serving.integrations.cvat.frame import Frame

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


def a_frame(data: bytes) -> Frame:
    return Frame(index=3, name="a.png", data=data)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)))


def test_the_part_has_the_frames_pixels() -> None:
    part = cropped(a_frame(png(Image.fromarray(PIXELS))), [5, 6, 25, 16])

    assert (part.index, part.name, part.problem) == (3, "a.png", None)
    assert np.array_equal(pixels(part.data), PIXELS[6:16, 5:25])


def test_without_a_part_the_frame_stays_the_file_that_it_is() -> None:
    frame = a_frame(b"any bytes")

    assert cropped(frame, None) is frame


@pytest.mark.parametrize("roi", [[0, 0, 41, 10], [0, 0, 10, 31], [-1, 0, 5, 5], [5, 5, 5, 9]])
def test_a_part_outside_the_frame_is_refused(roi: list[float]) -> None:
    with pytest.raises(BadAnnotationRequestError, match="not inside a frame of 40 × 30"):
        cropped(a_frame(png(Image.fromarray(PIXELS))), roi)


def test_what_is_no_image_has_a_problem() -> None:
    assert cropped(a_frame(b"no image"), [0, 0, 1, 1]).problem == "it is no image that can be opened"


def test_an_orientation_in_exif_is_not_carried_on() -> None:
    file = BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PIXELS).save(file, "PNG", exif=exif)
    opened = Image.open(BytesIO(file.getvalue()))
    assert opened.getexif()[274] == 6

    plain = Image.open(BytesIO(png(opened)))

    assert plain.getexif().get(274) is None
    assert plain.size == (40, 30)
