"""Turns an item's bytes into the payload that a model takes, safely."""

from __future__ import annotations

from typing import assert_never

from models.media import image, text
from models.media.limits import MediaLimits
from models.types import AudioPayload, Content, EncodedJpeg, ImagePayload, Payload, TextPayload

__all__ = ["MediaLimits", "decode", "image_size_hw"]

image_size_hw = image.size_hw


def decode(content: Content, limits: MediaLimits = MediaLimits(), *, keeps_jpegs: bool = False) -> Payload:
    """Decode an item's bytes; with ``keeps_jpegs``, plain JPEGs are only checked, for a model that decodes them.

    Whatever the bytes are, the only exception is ItemError, and sizes are checked before memory is spent on them. Safe
    to call from several threads at once.

    Raises:
        ItemError: unreadable_image, unreadable_audio, invalid_text, wrong_media, or too_large.
    """
    match content.media:
        case "image":
            if keeps_jpegs and (size_hw := image.plain_jpeg_size_hw(content.data, limits)) is not None:
                return EncodedJpeg(data=content.data, size_hw=size_hw, prompts=content.prompts, digest=content.digest)
            image_rgb = image.decode(content.data, limits)
            return ImagePayload(image_rgb=image_rgb, prompts=content.prompts, digest=content.digest)
        case "audio":
            from models.media import audio  # brings FFmpeg and a resampler, which images and texts do without

            return AudioPayload(samples=audio.decode(content.data, limits), sample_rate_hz=audio.SAMPLE_RATE_HZ)
        case "text":
            return TextPayload(text=text.decode(content.data, limits))
        case unreachable:
            assert_never(unreachable)
