"""Takes run-length encoded masks apart into their connected pieces, without drawing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.geometry import mask_of_runs
from models.types import Mask
from pipelines.sanity.overlaps import ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The pieces of a mask; pixels that touch at a corner belong together, as in Segment Anything's postprocessing.

    Attributes:
        size_hw: of the image.
        starts, ends: (n,) half-open ranges of pixels, counted down the columns, none across two columns; ascending.
        piece_of: (n,) which piece each range is of.
        areas: (k,) pixels of each piece.
    """

    size_hw: tuple[int, int]
    starts: np.ndarray
    ends: np.ndarray
    piece_of: np.ndarray
    areas: np.ndarray

    def only(self, is_kept: np.ndarray) -> Mask:
        """The mask without the other pieces; ``is_kept`` is (k,) bool."""
        ranges = is_kept[self.piece_of]
        starts, ends = _joined(self.starts[ranges], self.ends[ranges])
        height, width = self.size_hw
        bounds = np.concatenate([np.stack([starts, ends], axis=1).ravel(), [height * width]])
        lengths = np.diff(bounds, prepend=0)
        return mask_of_runs(lengths[:-1] if lengths[-1] == 0 else lengths, size_hw=self.size_hw)


def pieces(run_lengths: Sequence[int], *, size_hw: tuple[int, int]) -> Pieces:
    """The pieces of the mask that has these runs, zeros first, which fill the image."""
    height, _ = size_hw
    bounds = np.cumsum(run_lengths, dtype=np.int64)
    starts, ends = _joined(*_without_empty(bounds[0::2][: len(bounds) // 2], bounds[1::2]))
    starts, ends = _split(starts, ends, height=height)
    a, b = _neighbours(starts, ends, height=height)
    _, piece_of = np.unique(_connected(len(starts), a, b), return_inverse=True)
    areas = np.bincount(piece_of, weights=ends - starts).astype(np.int64)
    return Pieces(size_hw=size_hw, starts=starts, ends=ends, piece_of=piece_of, areas=areas)


def _without_empty(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return starts[ends > starts], ends[ends > starts]


def _joined(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending ranges, with those that touch made one."""
    is_apart = starts[1:] > ends[:-1]
    return starts[np.append(True, is_apart)[: len(starts)]], ends[np.append(is_apart, True)[: len(ends)]]


def _split(starts: np.ndarray, ends: np.ndarray, *, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranges cut where a column ends."""
    first = starts // height
    counts = (ends - 1) // height - first + 1
    owner, column = ranges(first, counts)
    return np.maximum(starts[owner], column * height), np.minimum(ends[owner], (column + 1) * height)


def _neighbours(starts: np.ndarray, ends: np.ndarray, *, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranges that touch one of the next column, be it at a corner, and those: two arrays of indices."""
    column = starts // height
    top, bottom = starts - column * height, ends - column * height
    low = (column + 1) * height + np.maximum(top - 1, 0)
    high = (column + 1) * height + np.minimum(bottom + 1, height)
    first, last = np.searchsorted(ends, low, side="right"), np.searchsorted(starts, high, side="left")
    return ranges(first, np.maximum(last - first, 0))


def _connected(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(count,) the lowest member of each one's component, where a[i] and b[i] are joined.

    Every round hooks the roots of joined trees, the higher to the lower one, and flattens the trees.
    """
    root = np.arange(count)
    while (root[a] != root[b]).any():
        np.minimum.at(root, np.maximum(root[a], root[b]), np.minimum(root[a], root[b]))
        while (root[root] != root).any():
            root = root[root]
    return root
