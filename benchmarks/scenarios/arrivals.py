"""Draws when queries arrive."""

from __future__ import annotations

import numpy as np


def poisson(rate_per_s: float, *, n: int, rng: np.random.Generator) -> list[float]:
    """The arrival times of n queries of a Poisson process, in seconds from its start.

    The gaps are independent and exponential with mean 1 / ``rate_per_s``, as in MLPerf's Server scenario (Reddi et al.
    2020, §III-C).
    """
    if not rate_per_s > 0:
        raise ValueError(f"queries must arrive at a positive rate; got {rate_per_s}/s")
    return np.cumsum(rng.exponential(1.0 / rate_per_s, size=n)).tolist()
