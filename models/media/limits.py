"""Bounds what one item may unfold to when it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict, PositiveFloat, PositiveInt


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """What is refused as too large, however small the file.

    Attributes:
        max_pixels: width times height of an image.
        max_frames: frames of an animation or pages of a TIFF; only the first one is labelled.
        max_audio_s: length of a recording; an hour decodes to 230 MB.
        max_channels: of a recording, before they are mixed to one.
        min_sample_rate_hz, max_sample_rate_hz: of a recording, before it is resampled.
        max_text_chars: Unicode code points.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    max_pixels: PositiveInt = 40_000_000
    max_frames: PositiveInt = 256
    max_audio_s: PositiveFloat = 4 * 3600.0
    max_channels: PositiveInt = 8
    min_sample_rate_hz: PositiveInt = 4_000
    max_sample_rate_hz: PositiveInt = 192_000
    max_text_chars: PositiveInt = 1_000_000
