"""Holds what a strategy chooses from, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import InvalidRequestError

_CHUNK_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What a strategy has chosen: the item's index, what it was ranked by, and a sentence that says so."""

    index: int
    utility: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """Everything that is known of n items.

    Attributes:
        free: (m,) int64 indices of what a strategy may choose, ascending.
        known: (k,) int64 indices of what is labelled, queued or drawn already, ascending; there is no use in its twins.
        embeddings: (n, d) floating, any scale; Euclidean distances are taken of them as they are.
        uncertainty: (n,) float64, 0 or more, larger = less sure; ``measure`` is its name.
        cost: (n,) float64 above 0, of labelling each item, in any one unit.
        group: (n,) int64, the place of each item's group in ``groups``.
    """

    free: np.ndarray
    known: np.ndarray
    embeddings: np.ndarray | None
    uncertainty: np.ndarray | None
    measure: str
    cost: np.ndarray | None
    group: np.ndarray | None
    groups: tuple[str, ...]

    def points(self, indices: np.ndarray) -> np.ndarray:
        """(len(indices), d) float64 embeddings."""
        if self.embeddings is None:
            raise refused("distances need embeddings, and there are none; set 'embeddings: true' on the model's card")
        return np.asarray(self.embeddings[indices], dtype=np.float64)

    def uncertain(self, indices: np.ndarray) -> np.ndarray:
        """(len(indices),) float64 uncertainties; 0 where there are none."""
        return np.zeros(len(indices)) if self.uncertainty is None else self.uncertainty[indices]


def refused(message: str) -> InvalidRequestError:
    return InvalidRequestError("invalid_argument", message)


def index_of(ids: Sequence[str]) -> dict[str, int]:
    """The place of each id.

    Raises:
        InvalidRequestError: an id comes twice.
    """
    places = {item_id: place for place, item_id in enumerate(ids)}
    if len(places) != len(ids):
        seen = set[str]()
        twice = next(item_id for item_id in ids if item_id in seen or seen.add(item_id))
        raise refused(f"the id '{twice}' names two items; give each an id of its own")
    return places


def places_of(some: Sequence[str], places: Mapping[str, int], *, what: str) -> np.ndarray:
    """The sorted places of these ids, each once: (k,) int64.

    Raises:
        InvalidRequestError: an id is not among those of the pool.
    """
    unknown = [item_id for item_id in some if item_id not in places]
    if unknown:
        raise refused(f"{len(unknown)} {what} are not among the ids, such as '{unknown[0]}'; give the ids of all items")
    return np.unique(np.fromiter((places[item_id] for item_id in some), dtype=np.int64, count=len(some)))


def checked_embeddings(embeddings: np.ndarray, *, count: int) -> np.ndarray:
    """The (n, d) embeddings as they were given, which may be a memory map.

    Raises:
        InvalidRequestError: they are of another shape or type, or not all finite.
    """
    if embeddings.ndim != 2 or len(embeddings) != count or not embeddings.shape[1]:
        raise refused(f"embeddings must be of shape ({count}, d), a row for each id; got {embeddings.shape}")
    if not np.issubdtype(embeddings.dtype, np.floating):
        raise refused(f"embeddings must be floating-point numbers; got {embeddings.dtype}")
    for start in range(0, count, _CHUNK_ROWS):
        rows = embeddings[start : start + _CHUNK_ROWS]
        if not np.isfinite(rows).all():
            row = start + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise refused(f"the embedding of item {row} holds numbers that are not finite; leave the item out")
    return embeddings


def checked_numbers(values: Sequence[float] | np.ndarray, *, count: int, what: str, above_zero: bool) -> np.ndarray:
    """(n,) float64.

    Raises:
        InvalidRequestError: there are more or fewer, or one is not finite, or below its range.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (count,):
        raise refused(f"{what} must be of shape ({count},), a number for each id; got {numbers.shape}")
    is_good = np.isfinite(numbers) & ((numbers > 0.0) if above_zero else (numbers >= 0.0))
    if not is_good.all():
        place = int(np.flatnonzero(~is_good)[0])
        wanted = "above 0" if above_zero else "of 0 or more"
        raise refused(f"{what} must be finite numbers {wanted}; item {place} has {numbers[place]}")
    return numbers


def checked_groups(groups: Sequence[str] | None, *, count: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The place of each item's group, and the groups' names in order.

    Raises:
        InvalidRequestError: there are more or fewer than items.
    """
    if groups is None:
        return None, ()
    if len(groups) != count:
        raise refused(f"groups must name one group for each of {count} ids; got {len(groups)}")
    names, places = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    return places.astype(np.int64), tuple(names.tolist())
