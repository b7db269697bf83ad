"""Makes the sample drop: held-out images, texts and recordings, easy and hard, some of them bad on purpose.

Run ``python -m models.demo.drop`` to make it again; the recordings need espeak-ng on the machine.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from itertools import chain, cycle
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from models.demo import sentences, speech
from models.demo.scenes import HELD_OUT_SEEDS, Part, scene

DROP = Path(__file__).parent / "drop"

_SEED = 20_261
# The scenes stand far from the seeds that evaluation starts with.
_FIRST_SCENE = HELD_OUT_SEEDS.start + 500_000
_SAMPLE_RATE_HZ = 16_000
_ORIENTATION = 0x0112


def write(folder: Path) -> None:
    """Write the drop: one folder for each task."""
    for task, files in {
        "detection": chain(_images(0), _bad_images()),
        "segmentation": chain(_images(100), [("login_page.jpg", b"<!doctype html><title>Please sign in</title>")]),
        "ner": chain(_texts(), _bad_texts()),
        "speech": chain(_recordings(), _bad_recordings()),
    }.items():
        (folder / task).mkdir(parents=True, exist_ok=True)
        for name, content in files:
            (folder / task / name).write_bytes(content)


def _images(first: int) -> Iterator[tuple[str, bytes]]:
    """14 scenes, every third a PNG and one of the JPEGs turned by its EXIF tag, and an empty wall."""
    for n in range(14):
        part: Part = "easy" if n < 8 else "hard" if n < 12 else "out_of_domain"
        image = Image.fromarray(scene(_FIRST_SCENE + first + n, part).image_rgb)
        suffix = "png" if n % 3 == 2 else "jpg"
        yield f"{part}_{n:02d}.{suffix}", _encoded(image, suffix, is_turned=n == 3)
    yield "empty_wall.jpg", _encoded(Image.new("RGB", (280, 220), (188, 196, 182)), "jpg")


def _bad_images() -> Iterator[tuple[str, bytes]]:
    whole = _encoded(Image.fromarray(scene(_FIRST_SCENE + 50, "easy").image_rgb), "jpg")
    yield "truncated.jpg", whole[: len(whole) // 2]
    yield "bomb.png", _png_header(width_px=60_000, height_px=60_000)


def _encoded(image: Image.Image, suffix: str, *, is_turned: bool = False) -> bytes:
    file = BytesIO()
    if suffix == "png":
        image.save(file, "PNG", optimize=True)
    elif is_turned:
        exif = Image.Exif()
        exif[_ORIENTATION] = 6  # shown after a quarter turn clockwise
        image.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=88, exif=exif)
    else:
        image.save(file, "JPEG", quality=88)
    return file.getvalue()


def _png_header(*, width_px: int, height_px: int) -> bytes:
    """A PNG of a few bytes that unfolds to gigabytes."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def _texts() -> Iterator[tuple[str, bytes]]:
    counts: dict[sentences.Part, int] = {"easy": 14, "hard": 6, "out_of_domain": 4}
    for part, n in counts.items():
        for index, sentence in enumerate(sentences.held_out_texts(part, n=n, seed=_SEED)):
            yield f"{part}_{index:02d}.txt", sentence.text.encode()


def _bad_texts() -> Iterator[tuple[str, bytes]]:
    yield "no_names.txt", b"The kettle is still warm, so someone was here a moment ago."
    yield "latin1.txt", "Zoë a visité Orléans en août.".encode("latin-1")


def _recordings() -> Iterator[tuple[str, bytes]]:
    suffixes = cycle(["wav", "flac", "mp3"])
    counts: dict[speech.Part, int] = {"clean": 9, "noisy": 5, "out_of_domain": 3}
    for part, n in counts.items():
        for index, clip in enumerate(speech.held_out_clips(part, n=n, seed=_SEED)):
            suffix = next(suffixes)
            yield f"{part}_{index:02d}.{suffix}", _recorded(clip.samples, suffix)
    yield "silence.flac", _recorded(np.zeros(2 * _SAMPLE_RATE_HZ, np.float32), "flac")


def _bad_recordings() -> Iterator[tuple[str, bytes]]:
    yield "not_a_number.wav", _recorded(np.full(_SAMPLE_RATE_HZ // 4, np.nan, np.float32), "wav", subtype="FLOAT")
    yield "playlist.wav", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n"


def _recorded(samples: np.ndarray, suffix: str, *, subtype: str | None = None) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, _SAMPLE_RATE_HZ, format=suffix.upper(), subtype=subtype)
    return file.getvalue()


if __name__ == "__main__":
    write(DROP)
