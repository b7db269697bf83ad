"""Compares the batch job with a plain loop on images, whose decoding is a good part of the work."""

from __future__ import annotations

from benchmarks.drops import work
from benchmarks.drops.over_loop import rate_over_loop
from benchmarks.ratio import Ratio


def measure(*, quick: bool) -> Ratio:
    """At least half a minute of work for each arm; a quick run takes a quarter of that."""
    return rate_over_loop("images", work.images, seconds=8 if quick else 30, rounds=1 if quick else 3, probe=256)
