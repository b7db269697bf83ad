"""Compares the batch job with a plain loop on speech, where an item keeps a network busy for some 150 ms."""

from __future__ import annotations

from benchmarks.drops.over_loop import rate_over_loop
from benchmarks.drops.work import recordings
from benchmarks.ratio import Ratio


def measure(*, quick: bool) -> Ratio:
    """At least half a minute of work for each arm; a quick run takes a quarter of that."""
    return rate_over_loop("speech", recordings, seconds=8 if quick else 30, rounds=1 if quick else 3, probe=16)
