"""Makes a benchmark's items: the sample drop's, a folder's, or generated ones, no two of them equal."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import assert_never

import numpy as np
import soundfile
from PIL import Image

from benchmarks.scenarios.stamp import can_stamp, stamped
from models.demo import sentences
from models.demo.drop import DROP
from models.errors import ConfigError, ItemError
from models.media import MediaLimits, decode, image_size_hw
from models.types import (
    MEDIA_OF_TASK,
    AudioPayload,
    BoxPrompt,
    Content,
    ImagePayload,
    Item,
    Media,
    Payload,
    Prompts,
    Task,
)
from pipelines.fetch.files import path_of
from pipelines.sources.folder import items_of

_MOST_FILES = 256
_IMAGE_SIZE_HW, _IMAGES = (720, 1280), 24
_TEXTS, _WORDS_MEDIAN, _WORDS_SIGMA = 256, 60, 0.6
_RECORDINGS, _RECORDING_S, _SAMPLE_RATE_HZ = 12, 30.0, 16_000


@dataclass(slots=True, kw_only=True)
class Inputs:
    """Files in memory, handed out in order and over again, each time with another number stamped into it.

    Attributes:
        what: the files in words.
        files: encoded contents; every repetition begins with the first one, so that all do the same work.
        left_out: names and codes of files that cannot be decoded, and are therefore not measured with.
        prompts: what each file asks a promptable model for; empty for nothing.
    """

    media: Media
    what: str
    files: list[bytes]
    left_out: dict[str, str] = field(default_factory=dict)
    prompts: list[Prompts] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def mean_bytes(self) -> int:
        return sum(map(len, self.files)) // len(self.files)

    @property
    def digest(self) -> str:
        """sha256 over all files, so that two reports can be told to have measured with the same."""
        return hashlib.sha256(b"".join(hashlib.sha256(file).digest() for file in self.files)).hexdigest()

    def take(self, n: int) -> list[Content]:
        """n contents; none of them was ever handed out before."""
        indices = (number % len(self.files) for number in range(n))
        return [self._content(index) for index in indices]

    def _content(self, index: int) -> Content:
        data = stamped(self.media, self.files[index], next(self._numbers))
        return Content(media=self.media, data=data, prompts=self.prompts[index] if self.prompts else Prompts())

    def ask_for_middles(self) -> None:
        """Give each image one box prompt around its middle, for a segmenter that runs without a detector before it."""
        self.prompts = [_middle(*image_size_hw(file, MediaLimits())) for file in self.files]
        self.what += ", each with one box prompt"


def from_folder(folder: Path, task: Task, *, what: str, seed: int) -> Inputs:
    """The files of a folder that decode, at most 256 of them, drawn by the seed.

    Formats that have no place for a stamp are encoded anew: pictures as PNG, recordings as FLAC.

    Raises:
        ConfigError: there is no such folder, or nothing in it decodes.
    """
    media, left_out, files = MEDIA_OF_TASK[task], dict[str, str](), list[bytes]()
    for item in _drawn(items_of(folder, task), seed):
        data = path_of(item.uri or "").read_bytes()
        try:
            payload = decode(Content(media=media, data=data))
        except ItemError as err:
            left_out[item.id] = err.code
        else:
            files.append(data if can_stamp(media, data) else _encoded(payload))
    if not files:
        raise ConfigError(f"no {media} file in {folder} can be decoded; give a folder that holds some")
    return Inputs(media=media, what=what, files=files, left_out=left_out)


def sample(task: Task, *, seed: int) -> Inputs:
    """The sample drop's good files for a task."""
    return from_folder(DROP / task, task, what=f"the sample drop's {task} files", seed=seed)


def generated(media: Media, *, seed: int) -> Inputs:
    """Full-size inputs for networks with random weights, made from nothing but the seed (and spoken demo clips)."""
    rng = np.random.default_rng(seed)
    match media:
        case "image":
            height, width = _IMAGE_SIZE_HW
            what, files = f"generated JPEGs of {width} × {height}", [_picture(rng) for _ in range(_IMAGES)]
        case "text":
            what, files = f"generated texts, about {_WORDS_MEDIAN} words", [_text(rng) for _ in range(_TEXTS)]
        case "audio":
            what, files = f"demo speech, repeated to {_RECORDING_S:.0f} s", list(_recordings(rng))
        case unreachable:
            assert_never(unreachable)
    return Inputs(media=media, what=what, files=files)


def _drawn(items: Iterable[Item], seed: int) -> list[Item]:
    everything = list(items)
    order = np.random.default_rng(seed).permutation(len(everything))
    return [everything[index] for index in order[:_MOST_FILES]]


def _encoded(payload: Payload) -> bytes:
    file = BytesIO()
    if isinstance(payload, ImagePayload):
        Image.fromarray(payload.image_rgb).save(file, "PNG")
    elif isinstance(payload, AudioPayload):
        soundfile.write(file, payload.samples, payload.sample_rate_hz, format="FLAC")
    return file.getvalue()


def _middle(height: int, width: int) -> Prompts:
    return Prompts(boxes=(BoxPrompt(xyxy=(width / 4, height / 4, width * 3 / 4, height * 3 / 4)),))


def _picture(rng: np.random.Generator) -> bytes:
    """Soft colours with grain, which takes about as many bytes a pixel as a photograph."""
    height, width = _IMAGE_SIZE_HW
    coarse = Image.fromarray(rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8))
    soft = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    grain = rng.normal(0.0, 6.0, (height, width, 1)).astype(np.float32)
    file = BytesIO()
    Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=88)
    return file.getvalue()


def _text(rng: np.random.Generator) -> bytes:
    """Sentences until a log-normal length is reached: a few long texts among many short ones."""
    wanted, words = rng.lognormal(np.log(_WORDS_MEDIAN), _WORDS_SIGMA), list[str]()
    while len(words) < wanted:
        words += sentences.a_held_out_text("easy", rng).text.split()
    return " ".join(words).encode()


def _recordings(rng: np.random.Generator) -> Iterator[bytes]:
    clips = [soundfile.read(file, dtype="float32")[0] for file in sorted((DROP / "speech").glob("clean_*"))]
    for _ in range(_RECORDINGS):
        spoken = np.concatenate([clips[index] for index in rng.permutation(len(clips))])
        samples = np.resize(spoken, int(_RECORDING_S * _SAMPLE_RATE_HZ)) * rng.uniform(0.7, 0.95)
        file = BytesIO()
        soundfile.write(file, samples, _SAMPLE_RATE_HZ, format="FLAC")
        yield file.getvalue()
