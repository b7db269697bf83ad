"""Turns what a person clicked in CVAT into prompts for a segmenter, and chooses among its masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.errors import ItemError
from models.geometry import decode_mask, encode_mask
from models.types import Annotation, BoxPrompt, Mask, PointPrompt, Prompts

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clicks:
    """Points on the object and beside it, and a box around it, x1, y1, x2, y2; pixels of the frame."""

    positive: tuple[Point, ...] = ()
    negative: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def prompts(self) -> Prompts:
        """What to ask a segmenter; it answers a box and points one by one, and ``chosen`` decides.

        Raises:
            ItemError: invalid_prompt, there is neither a point on the object nor a box.
        """
        if not self.positive and self.box is None:
            raise ItemError("invalid_prompt", "got neither a positive point nor a box; give at least one of them")
        points = self.positive + self.negative
        flags = (True,) * len(self.positive) + (False,) * len(self.negative)
        return Prompts(
            boxes=(BoxPrompt(xyxy=self.box),) if self.box else (),
            points=(PointPrompt(points_xy=points, is_foreground=flags),) if self.positive else (),
        )

    def chosen(self, annotations: Sequence[Annotation]) -> Annotation | None:
        """Of the masks found, the one that agrees with most points; among equals the one that is surest.

        Where there is a box, the mask is cut to it.
        """
        masks = [
            (self._agreeing(bitmap), annotation.score, replace(annotation, geometry=encode_mask(bitmap)))
            for annotation in annotations
            if isinstance(annotation.geometry, Mask) and (bitmap := self._cut(annotation.geometry)).any()
        ]
        return max(masks, key=lambda mask: mask[:2])[-1] if masks else None

    def _cut(self, mask: Mask) -> np.ndarray:
        bitmap = decode_mask(mask)
        if self.box is None:
            return bitmap
        left, top, right, bottom = self.box
        inside = np.zeros_like(bitmap)
        inside[max(int(top), 0) : math.ceil(bottom), max(int(left), 0) : math.ceil(right)] = True
        return bitmap & inside

    def _agreeing(self, bitmap: np.ndarray) -> int:
        return sum(_at(bitmap, p) for p in self.positive) + sum(not _at(bitmap, p) for p in self.negative)


def read_box(corners: Sequence[float] | Sequence[Sequence[float]] | None) -> tuple[float, float, float, float] | None:
    """A box as CVAT's versions send it: two corners, four numbers, or nothing.

    Raises:
        ItemError: invalid_prompt, it is something else.
    """
    if not corners:
        return None
    numbers = np.ravel(np.array(corners, dtype=np.float64)) if _is_even(corners) else np.array([])
    if numbers.size != 4:
        raise ItemError("invalid_prompt", "a box must be [[x1, y1], [x2, y2]] or [x1, y1, x2, y2]")
    x, y = numbers[0::2], numbers[1::2]  # drawn from any corner
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _is_even(corners: Sequence[float] | Sequence[Sequence[float]]) -> bool:
    return len({len(one) if isinstance(one, Sequence) else 0 for one in corners}) == 1


def _at(bitmap: np.ndarray, point: Point) -> bool:
    x, y = (min(max(int(number), 0), most - 1) for number, most in zip(point, bitmap.shape[::-1], strict=True))
    return bool(bitmap[y, x])
