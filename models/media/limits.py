"""Bounds what one item may unfold to when it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict


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

    max_pixels: int = 40_000_000
    max_frames: int = 256
    max_audio_s: float = 4 * 3600.0
    max_channels: int = 8
    min_sample_rate_hz: int = 4_000
    max_sample_rate_hz: int = 192_000
    max_text_chars: int = 1_000_000
