"""Tests many thresholds in a fixed order without paying for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The last hypothesis that was rejected, and the level it was tested at."""

    index: int
    level: float


def walk(p_values: np.ndarray, shares: np.ndarray) -> Reached | None:
    """Test hypotheses in order; a level passes on to the next where one is rejected, and is lost where one is not.

    The fallback procedure of Wiens and Dmitrienko (2005). With all of delta on the first it is fixed-sequence testing
    (stop at the first p > delta); with delta in equal parts on all it is better than Bonferroni. The probability that
    any true hypothesis is rejected is at most the sum of the shares, whatever depends on what: let i < j be true ones
    with none between them. For j to be the first true one rejected, i was not, so j is tested at no more than the sum
    of the shares after i up to j. These sums, over all true hypotheses, add up to no more than all shares.

    Args:
        p_values: (k,) in order; each is valid for its hypothesis alone.
        shares: (k,) of delta, ≥ 0; neither they nor the order may depend on the data that the p-values come from.

    Returns:
        What was rejected last, or None if nothing was.
    """
    level, reached = 0.0, None
    for index, (p, share) in enumerate(zip(p_values.tolist(), shares.tolist(), strict=True)):
        level += share
        if level > 0.0 and p <= level:
            reached = Reached(index=index, level=level)
        else:
            level = 0.0
    return reached
