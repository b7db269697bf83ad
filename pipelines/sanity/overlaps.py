"""Finds boxes that stand for the same thing, among many, without comparing every pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.geometry import area

_FEW = 64  # up to here, comparing all pairs takes less time than sorting the boxes
_PAIRS_AT_ONCE = 2_000_000  # 16 MB for each array of indices


def numbered(labels: Sequence[str]) -> np.ndarray:
    """(n,) integers, equal where labels are."""
    number = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    return np.array([number[label] for label in labels], dtype=np.int64)


def pair_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union row by row: (n, 4), (n, 4) → (n,); not a number where it overflows."""
    intersection = pair_intersection(a_xyxy, b_xyxy)
    return intersection / (area(a_xyxy) + area(b_xyxy) - intersection)


def pair_intersection(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Common area row by row: (n, 4), (n, 4) → (n,) square pixels."""
    top_left = np.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    return area(np.concatenate([top_left, np.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:])], axis=1))


def alike(
    boxes_xyxy: np.ndarray, groups: np.ndarray, *, min_iou: float, sides: np.ndarray | None = None
) -> dict[int, int]:
    """Boxes that overlap a better one of their group, and that one; greedy, as non-maximum suppression is.

    Args:
        boxes_xyxy: (n, 4) float64 with areas above zero, best first.
        groups: (n,) integers; only boxes of one group are compared.
        min_iou: from here on two boxes are alike.
        sides: (n,) integers; where given, boxes of one side are not compared.

    Returns:
        Index → index of the box that it is like; the latter is not among the keys.
    """
    # Of two boxes with an IoU of t the overlap is at least t times as wide as either, so neither is wider than 1/t of
    # the other, and their centres are at most (1 − t) / t of either's width apart.
    distance = (1.0 - min_iou) / min_iou * 1.001 * (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) + 1e-9
    centres = _centres(boxes_xyxy)
    reach = np.concatenate([centres - distance, centres + distance], axis=1)

    def beats(better: np.ndarray, other: np.ndarray) -> np.ndarray:
        is_like = pair_iou(boxes_xyxy[better], boxes_xyxy[other]) >= min_iou
        return is_like if sides is None else is_like & (sides[better] != sides[other])

    return beaten(boxes_xyxy, groups, reach_xyxy=reach, beats=beats)


def inside(boxes_xyxy: np.ndarray, groups: np.ndarray, *, min_share: float, max_iou: float) -> dict[int, int]:
    """Boxes that lie in a larger one of their group, and that one.

    Args:
        boxes_xyxy: (n, 4) float64 with areas above zero.
        groups: (n,) integers; only boxes of one group are compared.
        min_share: of the smaller box's area that must lie in the larger one, above one half.
        max_iou: from here on two boxes are alike, and neither is inside.

    Returns:
        Index → index of the larger box; the latter is not among the keys.
    """
    order = np.argsort(-area(boxes_xyxy), kind="stable")
    boxes_xyxy, groups = boxes_xyxy[order], groups[order]

    def holds(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
        outer_xyxy, inner_xyxy = boxes_xyxy[outer], boxes_xyxy[inner]
        is_inside = pair_intersection(outer_xyxy, inner_xyxy) >= min_share * area(inner_xyxy)
        return is_inside & (pair_iou(outer_xyxy, inner_xyxy) < max_iou)

    found = beaten(boxes_xyxy, groups, reach_xyxy=boxes_xyxy, beats=holds)
    return {int(order[inner]): int(order[outer]) for inner, outer in found.items()}


def beaten(
    boxes_xyxy: np.ndarray,
    groups: np.ndarray,
    *,
    reach_xyxy: np.ndarray,
    beats: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> dict[int, int]:
    """Greedily, from the first box on: which later boxes of its group does each beat that is not beaten itself?

    Args:
        boxes_xyxy: (n, 4) float64.
        groups: (n,) integers.
        reach_xyxy: (n, 4), for each box where the centres lie of those that it may beat.
        beats: of (k,) indices of boxes and (k,) of later ones: (k,) bool.

    Returns:
        The index of each beaten box → that of the box that beats it, the first one.
    """
    winner_of = np.full(len(boxes_xyxy), -1)
    if len(boxes_xyxy) <= _FEW:
        winners, losers = np.triu_indices(len(boxes_xyxy), k=1)
        is_pair = (groups[winners] == groups[losers]) & beats(winners, losers)
        _settle(winner_of, winners[is_pair], losers[is_pair])
        return _as_dict(winner_of)
    centres = _centres(boxes_xyxy)
    index = _Index.of(centres, groups, axis=_telling_axis(centres, reach_xyxy))
    for first, last in _batches(len(boxes_xyxy)):
        candidates = np.arange(first, last)
        candidates = candidates[winner_of[candidates] < 0]
        winners, losers = index.pairs(candidates, reach_xyxy[candidates])
        is_later = losers > winners
        winners, losers = winners[is_later], losers[is_later]
        is_pair = beats(winners, losers)
        if is_pair.any():
            _settle(winner_of, winners[is_pair], losers[is_pair])
            index = index.without(winner_of >= 0)
    return _as_dict(winner_of)


def _batches(count: int) -> Iterator[tuple[int, int]]:
    """Half-open ranges; the first are small, for the best boxes beat many that need not be looked at again."""
    first, size = 0, 8
    while first < count:
        yield first, min(first + size, count)
        first, size = first + size, min(2 * size, max(_PAIRS_AT_ONCE // count, 1))


def _as_dict(winner_of: np.ndarray) -> dict[int, int]:
    losers = np.flatnonzero(winner_of >= 0)
    return dict(zip(losers.tolist(), winner_of[losers].tolist(), strict=True))


def _settle(winner_of: np.ndarray, winners: np.ndarray, losers: np.ndarray) -> None:
    """Note who beats whom, by the order of the winners; those who are beaten themselves beat nobody."""
    order = np.argsort(winners, kind="stable")
    names, starts = np.unique(winners[order], return_index=True)
    for winner, own in zip(names, np.split(losers[order], starts)[1:], strict=True):
        if winner_of[winner] < 0:
            winner_of[own[winner_of[own] < 0]] = winner


def _centres(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(n, 2); halved first, so that large numbers do not overflow."""
    return boxes_xyxy[:, :2] / 2 + boxes_xyxy[:, 2:] / 2


def _telling_axis(points_xy: np.ndarray, reach_xyxy: np.ndarray) -> int:
    """Along which axis the reaches take up less of the points' spread: 0 for x, 1 for y."""
    spread = np.ptp(points_xy, axis=0)
    reached = (reach_xyxy[:, 2:] - reach_xyxy[:, :2]).mean(axis=0)
    return int(np.argmin(np.nan_to_num(reached / np.maximum(spread, 1e-9), nan=np.inf)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Points sorted by group, then along one axis; ``keys`` are both in one integer, of the points ``of_key``."""

    axis: int
    keys: np.ndarray
    of_key: np.ndarray
    groups: np.ndarray
    points_xy: np.ndarray
    along: np.ndarray

    @classmethod
    def of(cls, points_xy: np.ndarray, groups: np.ndarray, *, axis: int) -> _Index:
        along = np.sort(points_xy[:, axis])
        keys = groups * (len(groups) + 1) + np.searchsorted(along, points_xy[:, axis])
        order = np.argsort(keys, kind="stable")
        return cls(axis=axis, keys=keys[order], of_key=order, groups=groups, points_xy=points_xy, along=along)

    def without(self, is_gone: np.ndarray) -> _Index:
        is_left = ~is_gone[self.of_key]
        return replace(self, keys=self.keys[is_left], of_key=self.of_key[is_left])

    def pairs(self, seekers: np.ndarray, reach_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seekers, and the points of their group within their reach: two (k,) arrays of indices."""
        base = self.groups[seekers] * (len(self.groups) + 1)
        low = np.searchsorted(self.along, reach_xyxy[:, self.axis], side="left")
        high = np.searchsorted(self.along, reach_xyxy[:, self.axis + 2], side="right")
        begin, end = np.searchsorted(self.keys, base + low), np.searchsorted(self.keys, base + high)
        row, position = ranges(begin, np.maximum(end - begin, 0))
        point, across = self.of_key[position], 1 - self.axis
        value = self.points_xy[point, across]
        is_in = (value >= reach_xyxy[row, across]) & (value <= reach_xyxy[row, across + 2])
        return seekers[row[is_in]], point[is_in]


def ranges(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The members of ranges, each with its range: 5, 9 and 2, 3 become 0, 0, 1, 1, 1 and 5, 6, 9, 10, 11."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
