"""Finds a place for the name of each shape over an image, so that names do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# What the page's style makes of a picture and of a chip, in CSS pixels.
_FRAME_WH = (303.0, 270.0)
_CHIP_HEIGHT, _CHAR_WIDTH, _PADDING = 17.0, 7.0, 8.0

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """Which corner of a chip is pinned where, in percent of the picture's width and height from that side."""

    horizontal: Literal["left", "right"]
    x: float
    vertical: Literal["top", "bottom"]
    y: float


def place(boxes_xyxy: Sequence[Box], texts: Sequence[str], *, size_hw: tuple[int, int]) -> list[Chip]:
    """A chip for each box: above it, inside, or below, wherever it hides least of those placed before.

    Args:
        boxes_xyxy: in pixels of the image.
        texts: what the chips will say.
    """
    height, width = size_hw
    scale = min(_FRAME_WH[0] / width, _FRAME_WH[1] / height)
    frame: Box = (0.0, 0.0, width * scale, height * scale)
    taken: list[Box] = []
    chips: list[Chip] = []
    for box, text in zip(boxes_xyxy, texts, strict=True):
        size = (min(len(text) * _CHAR_WIDTH + _PADDING, frame[2]), _CHIP_HEIGHT)
        x1, y1, x2, y2 = (side * scale for side in box)
        candidates = _candidates(_overlap_of((x1, y1, x2, y2), frame), size, frame)
        chip, covered = min(candidates, key=lambda pair: _cost(pair[1], frame, taken))
        chips.append(chip)
        taken.append(covered)
    return chips


def _candidates(box: Box, size_wh: tuple[float, float], frame: Box) -> list[tuple[Chip, Box]]:
    """Places for a chip, the best first, each with the area that it covers."""
    x1, y1, x2, y2 = box
    width, height = size_wh
    rows: list[tuple[Literal["top", "bottom"], float, float]] = [
        ("bottom", y1, y1 - height),  # above the box
        ("top", y1, y1),  # inside, at its top
        ("top", y2, y2),  # below
        ("bottom", y2, y2 - height),  # inside, at its bottom
    ]
    columns: list[tuple[Literal["left", "right"], float, float]] = [("left", x1, x1), ("right", x2, x2 - width)]
    return [
        (_chip(horizontal, x, vertical, y, frame), (left, top, left + width, top + height))
        for vertical, y, top in rows
        for horizontal, x, left in columns
    ]


def _chip(
    horizontal: Literal["left", "right"], x: float, vertical: Literal["top", "bottom"], y: float, frame: Box
) -> Chip:
    x_share, y_share = 100.0 * x / frame[2], 100.0 * y / frame[3]
    return Chip(
        horizontal=horizontal,
        x=x_share if horizontal == "left" else 100.0 - x_share,
        vertical=vertical,
        y=y_share if vertical == "top" else 100.0 - y_share,
    )


def _cost(chip: Box, frame: Box, taken: Sequence[Box]) -> float:
    """Square pixels of the chip that are outside the picture or over other chips."""
    outside = _area(chip) - _area(_overlap_of(chip, frame))
    return outside + sum(_area(_overlap_of(chip, other)) for other in taken)


def _overlap_of(a: Box, b: Box) -> Box:
    """What two boxes share; where they share nothing, a box without area inside both bounds."""
    x1, y1 = max(a[0], b[0]), max(a[1], b[1])
    return x1, y1, max(min(a[2], b[2]), x1), max(min(a[3], b[3]), y1)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
