"""Computes with boxes and masks: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from models.types import Mask

_PIXELS_OF_A_LONG_RUN = 100  # below it, sorting the starts of the runs takes longer than turning the bitmap


def clip_boxes(boxes_xyxy: np.ndarray, *, size_hw: tuple[int, int]) -> np.ndarray:
    """Boxes cut off at the image's edges.

    Args:
        boxes_xyxy: (n, 4) float, pixels.
        size_hw: height and width of the image in pixels.

    Returns:
        (n, 4) float, 0 ≤ x ≤ width and 0 ≤ y ≤ height.
    """
    height, width = size_hw
    return np.clip(boxes_xyxy, 0.0, np.array([width, height, width, height], dtype=np.float64))


def area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Area of each box in square pixels: (n, 4) → (n,)."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0.0)  # (n, 2)
    return sides[:, 0] * sides[:, 1]


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: (n, 4), (m, 4) → (n, m) in [0, 1]; 0 where both are empty."""
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0.0)  # (n, m, 2)
    intersection = sides[..., 0] * sides[..., 1]
    union = area(a_xyxy)[:, None] + area(b_xyxy)[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two (H, W) bool bitmaps; 1.0 when both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def mask_ious(masks: Sequence[Mask], others: Sequence[Mask]) -> np.ndarray:
    """Intersection over union of every pair of run-length encoded masks of one image: (n, m) in [0, 1].

    The bitmaps are never made. Masks of sizes that differ have nothing in common.
    """
    from pycocotools import mask as coco_mask

    if not masks or not others:
        return np.zeros((len(masks), len(others)))
    rows, columns = ([_coco(mask) for mask in own] for own in (masks, others))
    found = np.asarray(coco_mask.iou(rows, columns, [0] * len(columns)))
    return np.clip(np.nan_to_num(found), 0.0, 1.0)


def _coco(mask: Mask) -> Any:
    return {"size": list(mask.size_hw), "counts": mask.counts}


def encode_mask(bitmap: np.ndarray) -> Mask:
    """COCO run-length encoding of an (H, W) bool bitmap.

    Where runs are long, their starts are found row by row, as the bitmap lies in memory, in a third of the time that
    pycocotools takes: it reads columns, and turning the bitmap is slower than all the rest.
    """
    from pycocotools import mask as coco_mask

    height, width = bitmap.shape
    is_start = _run_starts(bitmap)
    if np.count_nonzero(is_start) * _PIXELS_OF_A_LONG_RUN < bitmap.size:
        rows, columns = np.divmod(np.flatnonzero(is_start), width)  # np.nonzero in two dimensions is ten times slower
        starts = np.sort(columns * height + rows)
        runs = np.diff(starts, prepend=0, append=bitmap.size).tolist()
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    else:
        rle = coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))
    return Mask(size_hw=(height, width), counts=cast(dict[str, bytes], rle)["counts"].decode("ascii"))


def _run_starts(bitmap: np.ndarray) -> np.ndarray:
    """(H, W) bool: whether a pixel differs from the one before it, down the columns; before the first lies a zero."""
    is_start = np.empty(bitmap.shape, dtype=bool)
    np.not_equal(bitmap[1:], bitmap[:-1], out=is_start[1:])
    np.not_equal(bitmap[:1, 1:], bitmap[-1:, :-1], out=is_start[:1, 1:])
    is_start[:1, :1] = bitmap[:1, :1]
    return is_start


def mask_of_runs(run_lengths: np.ndarray, *, size_hw: tuple[int, int]) -> Mask:
    """The mask whose runs, column by column and zeros first, have these lengths."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.frPyObjects({"counts": run_lengths.tolist(), "size": list(size_hw)}, *size_hw)
    return Mask(size_hw=size_hw, counts=cast(bytes, rle["counts"]).decode("ascii"))


def decode_mask(mask: Mask) -> np.ndarray:
    """The (H, W) bool bitmap of a run-length encoded mask."""
    from pycocotools import mask as coco_mask

    return coco_mask.decode({"size": list(mask.size_hw), "counts": mask.counts}).astype(bool)


def run_lengths(counts: str) -> list[int] | None:
    """The lengths of the runs, zeros first, that compressed COCO counts stand for; None if they stand for none.

    Counts from outside must pass through here before ``decode_mask``, whose C code trusts them. Format: rleFrString in
    pycocotools' common/maskApi.c (six bits a character from "0" on: more follows, then five of a signed number, lowest
    first; from the fourth on a number is the difference to the run before last).
    """
    runs, value, shift = list[int](), 0, 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        if runs[-1] < 0:
            return None
        value, shift = 0, 0
    return None if shift else runs


def mask_box(bitmap: np.ndarray) -> tuple[float, float, float, float] | None:
    """The tight xyxy box around an (H, W) bool bitmap's true pixels, or None where there are none."""
    rows = np.flatnonzero(bitmap.any(axis=1))
    columns = np.flatnonzero(bitmap.any(axis=0))
    if rows.size == 0:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
