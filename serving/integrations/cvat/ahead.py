"""Looks ahead in a CVAT task: labels the frames that a function will be asked for next together with the one it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_MISSES = 3  # batches in a row of which nothing was asked for: these are not the frames that come


class Media(Protocol):
    """What opens a frame's image."""

    def load_image(self) -> Image: ...


class Coming(Protocol):
    """A frame of a task (cvat_sdk.datasets.Sample)."""

    @property
    def frame_name(self) -> str: ...

    @property
    def media(self) -> Media: ...


class LookAhead:
    """Results for images that come one at a time, computed many at a time.

    The images that will come are the samples of the task from the one asked for on. What is found is handed out by the
    image's pixels alone, never by its name or place: where the samples are not what comes, calls are wasted, but no
    image gets another one's labels. After some batches of which nothing was asked for, it looks ahead no more.

    Args:
        label: labels images in one call, one list of shapes each.
        samples: gives the task's, in its order, when the first image comes; none for no looking ahead.
        most: how many images one call has.
    """

    def __init__(
        self,
        label: Callable[[Sequence[tuple[str, Image]]], list[list[object]]],
        samples: Callable[[], Sequence[Coming]],
        *,
        most: int,
    ) -> None:
        self._label, self._give, self._most = label, samples, most
        self._samples: Sequence[Coming] | None = None
        self._next, self._misses = 0, 0
        self._found: dict[bytes, list[object]] = {}

    def shapes(self, name: str, image: Image) -> list[object]:
        """The shapes of an image; the caller may change them."""
        key = fingerprint(image)
        if key in self._found:
            self._misses = 0
            return self._found.pop(key)
        if self._found:
            self._misses += 1
        self._found.clear()
        images, keys = [(name, image)], [key]
        for coming, own in self._coming(name):
            images.append((coming, own))
            keys.append(fingerprint(own))
        answers = self._label(images)
        self._found.update(zip(keys[1:], answers[1:], strict=True))
        self._found.pop(key, None)  # an image that comes twice is asked for twice
        return answers[0]

    def forget(self) -> None:
        """Drop what lies ready."""
        self._found.clear()

    def _coming(self, name: str) -> Iterator[tuple[str, Image]]:
        if self._misses >= _MOST_MISSES:
            return
        if self._samples is None:
            self._samples = self._give()
        here = chain(range(self._next, len(self._samples)), range(self._next))
        place = next((i for i in here if self._samples[i].frame_name == name), None)
        if place is None:
            return
        self._next = place + 1
        for sample in islice(self._samples, self._next, self._next + self._most - 1):
            self._next += 1
            try:
                yield sample.frame_name, sample.media.load_image()
            except Exception:  # noqa: S112 - any that Pillow has; whoever loads it next finds out
                continue


def fingerprint(image: Image) -> bytes:
    """A digest of an image's pixels."""
    digest = hashlib.blake2b(repr((image.mode, image.size)).encode(), digest_size=16)
    digest.update(image.tobytes())
    return digest.digest()
