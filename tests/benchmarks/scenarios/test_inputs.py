"""Checks that a benchmark's items differ in their bytes and in nothing that a model sees."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from benchmarks.scenarios import inputs
from benchmarks.scenarios.stamp import can_stamp, stamped
from models.errors import ConfigError
from models.media import decode
from models.types import AudioPayload, Content, ImagePayload, Media, Task, TextPayload

_RNG = np.random.default_rng(0)
_PIXELS = _RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
_SAMPLES = _RNG.normal(0, 0.1, 4_001).astype(np.float32)


def a_picture(kind: str) -> bytes:
    file = BytesIO()
    Image.fromarray(_PIXELS).save(file, kind)
    return file.getvalue()


def a_recording(kind: str) -> bytes:
    file = BytesIO()
    soundfile.write(file, _SAMPLES, 16_000, format=kind)
    return file.getvalue()


def seen(media: Media, data: bytes) -> object:
    """What a model sees, in a form that compares."""
    match decode(Content(media=media, data=data)):
        case ImagePayload(image_rgb=image):
            return image.tobytes()
        case AudioPayload(samples=samples):
            return samples.tobytes()
        case TextPayload(text=text):
            return text.rstrip()


@pytest.mark.parametrize(
    ("media", "data"),
    [
        ("image", a_picture("JPEG")),
        ("image", a_picture("PNG")),
        ("audio", a_recording("FLAC")),
        ("audio", a_recording("WAV")),
        ("text", b"Ada Varga moved to Lisbon."),
    ],
    ids=["JPEG", "PNG", "FLAC", "WAV", "text"],
)
def test_stamped_items_differ_and_look_the_same(media: Media, data: bytes) -> None:
    copies = [stamped(media, data, number) for number in (0, 1, 2, 3, 2**20, 2**20 + 1)]

    assert can_stamp(media, data)
    assert len({data, *copies}) == 7
    assert {seen(media, copy) for copy in copies} == {seen(media, data)}


def test_a_format_without_a_place_for_a_stamp_is_encoded_anew(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(lossless := _webp())

    made = inputs.from_folder(tmp_path, "detection", what="", seed=0)

    assert not can_stamp("image", lossless)
    assert [seen("image", content.data) for content in made.take(2)] == [_PIXELS.tobytes()] * 2


def _webp() -> bytes:
    file = BytesIO()
    Image.fromarray(_PIXELS).save(file, "WEBP", lossless=True)
    return file.getvalue()


@pytest.mark.parametrize("task", ["detection", "segmentation", "ner", "speech"])
def test_no_two_items_of_the_sample_drop_are_equal_and_all_decode(task: Task) -> None:
    made = inputs.sample(task, seed=0)
    n = 2 * len(made.files)

    contents = [*made.take(n), *made.take(3)]

    assert len({content.data for content in contents}) == n + 3
    assert [seen(made.media, content.data) for content in contents[:3]] == [
        seen(made.media, content.data) for content in contents[n:]
    ]  # every repetition does the same work
    assert made.left_out  # the sample drop holds files that are bad on purpose


def test_a_folder_without_readable_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")

    with pytest.raises(ConfigError, match="can be decoded"):
        inputs.from_folder(tmp_path, "detection", what="", seed=0)


@pytest.mark.parametrize("media", ["image", "text", "audio"])
def test_generated_inputs_are_full_size_and_follow_the_seed(media: Media) -> None:
    made, same, other = (inputs.generated(media, seed=seed) for seed in (0, 0, 1))

    assert made.digest == same.digest != other.digest
    payload = decode(made.take(1)[0])
    if isinstance(payload, ImagePayload):
        assert payload.image_rgb.shape == (720, 1280, 3)
    elif isinstance(payload, AudioPayload):
        assert len(payload.samples) == 30 * 16_000
    else:
        words = [len(file.split()) for file in made.files]
        assert 45 < np.median(words) < 85


def test_a_lone_segmenter_is_asked_for_the_middle_of_each_image() -> None:
    made = inputs.generated("image", seed=0)

    made.ask_for_middles()

    [content] = made.take(1)
    assert content.prompts.boxes[0].xyxy == (320.0, 180.0, 960.0, 540.0)
