"""Keeps what an encoder has made of the last images, so that the next question about one needs only the decoder."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """An encoder's output for one image, of any shape and on any device, and the original image's size."""

    tensor: torch.Tensor
    size_hw: tuple[int, int]


class KeptFeatures:
    """Features by the sha256 of their image's bytes, within a number of bytes; what was asked for longest ago goes.

    They may be asked for by several threads at once. Who has been given features has them until it lets go of them,
    whatever is kept meanwhile.
    """

    def __init__(self, *, max_bytes: int) -> None:
        """Keeps nothing where ``max_bytes`` is 0."""
        self._max_bytes = max_bytes
        self._kept = OrderedDict[str, Features]()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._bytes

    def find(self, digest: str | None) -> Features | None:
        """What is kept of an image; None of one that is not known, or has no digest."""
        if digest is None:
            return None
        with self._lock:
            if (features := self._kept.get(digest)) is not None:
                self._kept.move_to_end(digest)
            return features

    def keep(self, digest: str | None, tensor: torch.Tensor, *, size_hw: tuple[int, int]) -> None:
        """Keep a copy of a tensor, which is often one row of a batch's memory or will be overwritten.

        An image without a digest, or with more features than there is room for, is not kept.
        """
        if digest is None or tensor.nbytes > self._max_bytes:
            return
        features = Features(tensor=tensor.clone(), size_hw=size_hw)
        with self._lock:
            self._forget(digest)
            while self._bytes + tensor.nbytes > self._max_bytes:
                self._forget(next(iter(self._kept)))
            self._kept[digest] = features
            self._bytes += tensor.nbytes

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _forget(self, digest: str) -> None:
        if (features := self._kept.pop(digest, None)) is not None:
            self._bytes -= features.tensor.nbytes
