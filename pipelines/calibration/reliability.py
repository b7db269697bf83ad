"""Groups probabilities into bins and holds each bin's mean against what happened: the reliability diagram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Binning = Literal["width", "mass"]
Interval = Literal["wilson", "clopper_pearson"]

BINS = 15
_Z_95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The predictions whose probability lies between ``low`` and ``high``.

    Attributes:
        n: how many; a bin without any is left out.
        share: of the weight of all predictions.
        mean: of their probabilities.
        right: weighted share of them that were right.
        right_low, right_high: its 95 % interval.
    """

    low: float
    high: float
    n: int
    share: float
    mean: float
    right: float
    right_low: float
    right_high: float


def bin_of(
    probabilities: np.ndarray, *, bins: int, binning: Binning = "width", weights: np.ndarray | None = None
) -> np.ndarray:
    """(n,) int, the bin of each probability, 0 to ``bins`` − 1.

    "width": [0, 1/bins), [1/bins, 2/bins) …, the last with 1.0. "mass": as near to equal weight as equal probabilities
    allow, which always share a bin, so that their order changes nothing.
    """
    if binning == "width":
        return np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    values, place = np.unique(probabilities, return_inverse=True)
    mass = np.bincount(place, weights=weights, minlength=len(values))
    centre = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    return np.minimum((centre * bins).astype(np.int64), bins - 1)[place]


def reliability(
    probabilities: np.ndarray,
    is_right: np.ndarray,
    *,
    bins: int = BINS,
    binning: Binning = "width",
    interval: Interval = "wilson",
    weights: np.ndarray | None = None,
) -> tuple[Bin, ...]:
    """The bins of a reliability diagram, the lowest first (Murphy & Winkler 1977; Guo et al. 2017).

    With weights, an interval is that of the effective number of answers in the bin, (Σw)² / Σw² (Kish 1965), which is
    an approximation.

    Args:
        probabilities: (n,) in [0, 1].
        is_right: (n,) bool.
    """
    given = np.ones(len(probabilities)) if weights is None else weights
    place = bin_of(probabilities, bins=bins, binning=binning, weights=given)
    found = list[Bin]()
    for index in np.unique(place).tolist():
        in_it = place == index
        p, right, w = probabilities[in_it], is_right[in_it], given[in_it]
        edges = (index / bins, (index + 1) / bins) if binning == "width" else (float(p.min()), float(p.max()))
        share_right = float(np.average(right, weights=w))
        low, high = _interval(share_right, n=float(w.sum() ** 2 / np.square(w).sum()), interval=interval)
        found.append(
            Bin(
                low=edges[0],
                high=edges[1],
                n=len(p),
                share=float(w.sum() / given.sum()),
                mean=float(np.average(p, weights=w)),
                right=share_right,
                right_low=low,
                right_high=high,
            )
        )
    return tuple(found)


def _interval(share: float, *, n: float, interval: Interval) -> tuple[float, float]:
    return wilson(share, n=n) if interval == "wilson" else clopper_pearson(share, n=n)


def wilson(share: float, *, n: float) -> tuple[float, float]:
    """95 % interval of a share of n answers that holds on average over shares. Wilson 1927."""
    z2 = _Z_95**2
    centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = _Z_95 / (1.0 + z2 / n) * math.sqrt(share * (1.0 - share) / n + z2 / (4.0 * n * n))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def clopper_pearson(share: float, *, n: float) -> tuple[float, float]:
    """95 % interval of a share of n answers that holds for every share, and is wider. Clopper & Pearson 1934."""
    from scipy.stats import beta

    right, wrong = share * n, (1.0 - share) * n
    low = float(beta.ppf(0.025, right, wrong + 1.0)) if right > 0.0 else 0.0
    high = float(beta.ppf(0.975, right + 1.0, wrong)) if wrong > 0.0 else 1.0
    return low, high
