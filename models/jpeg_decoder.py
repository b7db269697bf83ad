"""Decodes all the JPEGs of a batch in one call, on the model's device."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import simplejpeg
import torch

from models import device as devices
from models.errors import ModelError
from models.media import MediaLimits, image
from models.types import EncodedJpeg
from models.upload import Upload

logger = logging.getLogger(__name__)


class JpegDecoder:
    """torchvision's decoder: nvJPEG on CUDA, which has engines of its own for it, and libjpeg-turbo on a CPU.

    nvJPEG rounds otherwise than the decoder of models/media, so a card that asks for it has a calibration of its own.
    """

    def __init__(self, *, device: str) -> None:
        """Try the decoder on an image of its own.

        Raises:
            ModelError: bad_card; torchvision cannot decode on this device.
        """
        self._device = device
        # The hardware engines write to an image's memory without waiting for what was queued on its stream before
        # (meta-pytorch/torchcodec#1634, pytorch/vision#9606): the memory comes from a stream that has nothing queued.
        self._stream = torch.cuda.Stream(device) if device == "cuda" else None
        try:
            self._together([a_jpeg(np.zeros((64, 64, 3), dtype=np.uint8))])
        except RuntimeError as err:
            raise ModelError("bad_card", f"torchvision decodes no JPEG on {device} here: {err}") from err

    def decode(self, jpegs: Sequence[EncodedJpeg]) -> list[torch.Tensor]:
        """(3, H, W) uint8 RGB each, on the device, for work on the current stream.

        A call fails for all its images if it fails for one; then each is decoded as models/media does.

        Raises:
            ItemError: an image is damaged. Alone in its batch, it is the one.
        """
        if not jpegs:
            return []
        try:
            images = self._together(jpegs)
        except RuntimeError as err:
            if devices.is_out_of_memory(err) or devices.loss(err) is not None:
                raise
            logger.warning("%d JPEGs are decoded one by one: %s", len(jpegs), str(err).partition("\n")[0])
            return [self._alone(jpeg) for jpeg in jpegs]
        pairs = zip(images, jpegs, strict=True)
        return [found if tuple(found.shape) == (3, *jpeg.size_hw) else self._alone(jpeg) for found, jpeg in pairs]

    def _together(self, jpegs: Sequence[EncodedJpeg]) -> list[torch.Tensor]:
        from torchvision.io import ImageReadMode, decode_jpeg

        _silence_torchvision()
        encoded = [torch.frombuffer(bytearray(jpeg.data), dtype=torch.uint8) for jpeg in jpegs]
        if self._stream is None:
            return decode_jpeg(encoded, mode=ImageReadMode.RGB)  # pyright: ignore[reportReturnType]
        self._stream.synchronize()
        with torch.cuda.stream(self._stream):
            images: list[torch.Tensor] = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self._device)  # pyright: ignore[reportAssignmentType]
        reader = torch.cuda.current_stream()
        reader.wait_stream(self._stream)
        for found in images:
            found.record_stream(reader)
        return images

    def _alone(self, jpeg: EncodedJpeg) -> torch.Tensor:
        height, width = jpeg.size_hw
        image_rgb = image.decode(jpeg.data, MediaLimits(max_pixels=height * width))
        return torch.from_numpy(image_rgb).permute(2, 0, 1).contiguous().to(self._device)


def decoded(sources: Sequence[Upload | EncodedJpeg], decoder: JpegDecoder | None) -> list[Upload | torch.Tensor]:
    """The sources of a batch with the JPEGs among them decoded.

    Raises:
        ItemError: as JpegDecoder.decode.
    """
    if decoder is None:
        return [source for source in sources if isinstance(source, Upload)]
    images = iter(decoder.decode([source for source in sources if isinstance(source, EncodedJpeg)]))
    return [source if isinstance(source, Upload) else next(images) for source in sources]


def a_jpeg(image_rgb: np.ndarray) -> EncodedJpeg:
    """(H, W, 3) uint8 as a JPEG."""
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image_rgb), quality=90, colorspace="RGB", colorsubsampling="420")
    return EncodedJpeg(data=data, size_hw=(image_rgb.shape[0], image_rgb.shape[1]))


def _silence_torchvision() -> None:
    """torchvision 0.29 deprecates its decoders for torchcodec's (from 0.16), which is one more library to install.

    warnings.catch_warnings swaps a list that all threads share, and models decode in threads of their own.
    """
    warnings.filterwarnings("ignore", message="The image decoding and encoding capabilities of TorchVision")
