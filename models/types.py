"""Names the values that travel through prelabel: items, payloads, annotations, predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Discriminator, Field

Media = Literal["image", "audio", "text"]
Task = Literal["detection", "segmentation", "ner", "speech"]
Priority = Literal["interactive", "bulk"]

PRIORITIES: tuple[Priority, Priority] = ("interactive", "bulk")

MEDIA_OF_TASK: dict[Task, Media] = {
    "detection": "image",
    "segmentation": "image",
    "ner": "text",
    "speech": "audio",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeItem:
    """The label applies to the item as a whole."""

    kind: Literal["whole_item"] = "whole_item"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An axis-aligned box: x1, y1, x2, y2 in pixels of the original image after EXIF orientation, origin top-left."""

    xyxy: tuple[float, float, float, float]
    kind: Literal["box"] = "box"


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygon:
    """A closed ring of (x, y) points in pixels of the original image; the last point joins the first."""

    points_xy: tuple[tuple[float, float], ...]
    kind: Literal["polygon"] = "polygon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A bitmap of the original image's size as COCO run-length encoding (column-major, compressed counts)."""

    size_hw: tuple[int, int]
    counts: str
    kind: Literal["mask"] = "mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpan:
    """The half-open range [start, end) of Unicode code points of the text as given."""

    start: int
    end: int
    kind: Literal["text_span"] = "text_span"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpan:
    """The range from start to end in seconds from the beginning of the recording."""

    start_s: float
    end_s: float
    kind: Literal["time_span"] = "time_span"


Geometry = Annotated[WholeItem | Box | Polygon | Mask | TextSpan | TimeSpan, Discriminator("kind")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPrompt:
    """A box that asks a promptable model for the object in it; pixels, xyxy.

    ``label`` names the class that the answer carries, ``parent_id`` the annotation that the box came from.
    """

    xyxy: tuple[float, float, float, float]
    label: str = "object"
    parent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointPrompt:
    """Points on (1) and off (0) one object that a promptable model shall outline; pixels."""

    points_xy: tuple[tuple[float, float], ...]
    is_foreground: tuple[bool, ...]
    label: str = "object"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What the caller asks a promptable model for; empty means everything in the item."""

    boxes: tuple[BoxPrompt, ...] = ()
    points: tuple[PointPrompt, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to label: a reference to its content (exactly one of uri, text, data) and its slice keys."""

    id: str
    media: Media
    uri: str | None = None
    text: str | None = None
    data: bytes | None = None
    meta: dict[str, str] = field(default_factory=dict)
    prompts: Prompts = Prompts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An item's bytes as fetched and not yet decoded: what crosses from the gateway to a model replica.

    ``data`` holds the encoded image or audio file, or the text in UTF-8; ``digest`` is its sha256 in hex, once taken.
    """

    media: Media
    data: bytes
    prompts: Prompts = Prompts()
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePayload:
    """A decoded image: (H, W, 3) uint8 RGB, EXIF orientation applied.

    ``digest`` is its content's, where a model may keep what it computes of it for the next question.
    """

    image_rgb: np.ndarray
    prompts: Prompts = Prompts()
    digest: str | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.image_rgb.shape[0], self.image_rgb.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedJpeg:
    """An upright colour JPEG, safe by its headers, for a model that decodes it on its own device.

    ``digest`` is as an ImagePayload's.
    """

    data: bytes
    size_hw: tuple[int, int]
    prompts: Prompts = Prompts()
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownImage:
    """An image of which a model keeps all that it needs, so that nobody decodes it again.

    ``features`` belong to that model alone. ``size_hw`` is the original image's.
    """

    features: object
    size_hw: tuple[int, int]
    prompts: Prompts = Prompts()


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPayload:
    """Decoded speech: (n,) float32 mono in [-1, 1] at 16 kHz."""

    samples: np.ndarray
    sample_rate_hz: int = 16_000

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPayload:
    """A text as given; offsets count its Unicode code points."""

    text: str


Picture = ImagePayload | EncodedJpeg
Payload = Picture | KnownImage | AudioPayload | TextPayload


AttributeValue = str | float | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One label, where it applies, and how sure the model says it is.

    ``score`` is the model's own number in [0, 1]. ``confidence`` is P(this annotation is right) after calibration;
    None until a calibration exists. ``id`` is unique within its prediction. ``text`` holds transcribed or marked text.
    """

    id: str
    label: str
    geometry: Geometry
    score: float
    confidence: float | None = None
    text: str | None = None
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    parent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What a network makes of an item as a whole, for comparing items with each other (models/embedding.py).

    ``model`` is the name of the card whose network it is, ``data`` d numbers as float16, little-endian. An item in
    which there is nothing to look at, such as an empty text, is all zeros.
    """

    model: str
    data: bytes

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.data) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A model's annotations for one item and the signals it read off while making them (see models/signals/).

    ``size_hw`` is an image's height and width in pixels after EXIF orientation, ``duration_s`` a recording's length in
    seconds; the engine fills them in. ``embedding`` is there where the model's card asks for it; it travels with the
    prediction from the replica to the store, and is left out wherever the prediction is written as JSON.
    """

    annotations: tuple[Annotation, ...] = ()
    signals: dict[str, float] = field(default_factory=dict)
    size_hw: tuple[int, int] | None = None
    duration_s: float | None = None
    embedding: Annotated[Embedding | None, Field(exclude=True)] = None

    @property
    def status(self) -> Literal["labels", "nothing_found"]:
        return "labels" if self.annotations else "nothing_found"
